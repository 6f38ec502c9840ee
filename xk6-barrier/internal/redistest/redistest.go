// Package redistest starts real Redis servers for tests.
package redistest

import (
	"fmt"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// Server is a real server on a port of its own, in a folder of its own, that ends with the test, and with a test that is killed.
type Server struct {
	*redis.Client

	Port    int
	Process *exec.Cmd
	more    []string
}

// Start starts a server, with more arguments than the usual ones.
func Start(t testing.TB, more ...string) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{Port: listener.Addr().(*net.TCPAddr).Port, more: more} //nolint:forcetypeassert // it is TCP
	require.NoError(t, listener.Close())

	s.Client = redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", s.Port)})
	t.Cleanup(func() { _ = s.Client.Close() })
	t.Cleanup(s.kill)
	s.run(t)
	return s
}

// Restart kills the server and starts an empty one in its place.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.kill()
	s.run(t)
}

func (s *Server) run(t testing.TB) {
	t.Helper()
	process := exec.Command("redis-server", append([]string{"--bind", "127.0.0.1", "--port", fmt.Sprint(s.Port), //nolint:gosec // ours
		"--save", "", "--appendonly", "no", "--dir", t.TempDir()}, s.more...)...)
	require.NoError(t, start(process), "redis-server has to be installed")
	s.Process = process
	require.Eventually(t, func() bool { return s.Ping(t.Context()).Err() == nil }, time.Minute, 5*time.Millisecond)
}

func (s *Server) kill() {
	if s.Process == nil {
		return
	}
	_ = s.Process.Process.Kill()
	_ = s.Process.Wait()
}

// URL is where the server is.
func (s *Server) URL() string { return fmt.Sprintf("redis://127.0.0.1:%d", s.Port) }

// Lasting names to goleak what stays until the process ends.
func Lasting() goleak.Option {
	return goleak.IgnoreTopFunction("github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest.nurse")
}
