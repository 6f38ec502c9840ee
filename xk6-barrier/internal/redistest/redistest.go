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
)

// Server is a real server on a port of its own, in a folder of its own, that ends with the test.
type Server struct {
	*redis.Client

	Port    int
	Process *exec.Cmd
}

// Start starts a server, with more arguments than the usual ones.
func Start(t testing.TB, more ...string) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{Port: listener.Addr().(*net.TCPAddr).Port} //nolint:forcetypeassert // it is TCP
	require.NoError(t, listener.Close())

	s.run(t, more...)
	t.Cleanup(func() { s.end() })
	s.Client = redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", s.Port)})
	t.Cleanup(func() { _ = s.Client.Close() })
	s.answers(t)
	return s
}

// Restart kills the server, and starts an empty one at its place.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.end()
	s.run(t)
	s.answers(t)
}

func (s *Server) run(t testing.TB, more ...string) {
	t.Helper()
	s.Process = exec.Command("redis-server", append([]string{"--bind", "127.0.0.1", "--port", fmt.Sprint(s.Port), //nolint:gosec // ours
		"--save", "", "--appendonly", "no", "--dir", t.TempDir()}, more...)...)
	require.NoError(t, s.Process.Start(), "redis-server has to be installed")
}

func (s *Server) end() {
	_ = s.Process.Process.Kill()
	_ = s.Process.Wait()
}

func (s *Server) answers(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return s.Ping(t.Context()).Err() == nil }, time.Minute, 5*time.Millisecond)
}

// URL is where the server is.
func (s *Server) URL() string { return fmt.Sprintf("redis://127.0.0.1:%d", s.Port) }
