// Package redistest starts real Redis servers for tests.
package redistest

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
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
	ended   chan struct{} // closed when the process has ended
}

// tries is how many ports a server may find taken: between choosing one and listening on it, somebody else may take it.
const tries = 10

// Start starts a server, with more arguments than the usual ones.
func Start(t testing.TB, more ...string) *Server {
	t.Helper()
	for range tries {
		if s := startAt(t, freePort(t), more); s != nil {
			return s
		}
	}
	require.Fail(t, "redis-server ends at once", "on each of %d ports, with %q", tries, more)
	return nil
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Close()) }()
	return listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // it is TCP
}

// startAt starts a server on a port. It returns nil where the server ended, as it does where the port is taken.
func startAt(t testing.TB, port int, more []string) *Server {
	t.Helper()
	s := &Server{Port: port, more: more}
	s.Client = redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port)})
	t.Cleanup(func() { _ = s.Client.Close() })
	t.Cleanup(s.kill)
	if !s.run(t) {
		return nil
	}
	return s
}

// Restart kills the server and starts an empty one in its place.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.kill()
	require.True(t, s.run(t), "somebody else has taken port %d", s.Port)
}

// run starts the process and waits until it answers; false where it has ended instead.
func (s *Server) run(t testing.TB) bool {
	t.Helper()
	process := exec.Command("redis-server", append([]string{"--bind", "127.0.0.1", "--port", fmt.Sprint(s.Port), //nolint:gosec // ours
		"--save", "", "--appendonly", "no", "--dir", t.TempDir()}, s.more...)...)
	require.NoError(t, start(process), "redis-server has to be installed")
	s.Process, s.ended = process, make(chan struct{})
	go func(ended chan<- struct{}) {
		_ = process.Wait()
		close(ended)
	}(s.ended)
	// Where the port was taken, another test's server may answer.
	own := fmt.Sprintf("process_id:%d\r\n", process.Process.Pid)
	answers := false
	require.Eventually(t, func() bool {
		select {
		case <-s.ended:
			return true
		default:
			answers = strings.Contains(s.Info(t.Context(), "server").Val(), own)
			return answers
		}
	}, time.Minute, 5*time.Millisecond)
	return answers
}

func (s *Server) kill() {
	if s.Process == nil {
		return
	}
	_ = s.Process.Process.Kill()
	<-s.ended
}

// URL is where the server is.
func (s *Server) URL() string { return fmt.Sprintf("redis://127.0.0.1:%d", s.Port) }

// Lasting names to goleak what stays until the process ends.
func Lasting() goleak.Option {
	return goleak.IgnoreTopFunction("github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest.nurse")
}
