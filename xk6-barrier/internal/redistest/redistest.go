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

	s.Process = exec.Command("redis-server", append([]string{"--bind", "127.0.0.1", "--port", fmt.Sprint(s.Port), //nolint:gosec // ours
		"--save", "", "--appendonly", "no", "--dir", t.TempDir()}, more...)...)
	require.NoError(t, s.Process.Start(), "redis-server has to be installed")
	t.Cleanup(func() {
		_ = s.Process.Process.Kill()
		_ = s.Process.Wait()
	})
	s.Client = redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", s.Port)})
	t.Cleanup(func() { _ = s.Client.Close() })
	require.Eventually(t, func() bool { return s.Ping(t.Context()).Err() == nil }, time.Minute, 5*time.Millisecond)
	return s
}

// URL is where the server is.
func (s *Server) URL() string { return fmt.Sprintf("redis://127.0.0.1:%d", s.Port) }
