package redistest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, Lasting()) }

// victim is set for the process that is to be killed.
const victim = "K6_BARRIER_TEST_VICTIM"

// ends waits until nobody listens on the port any more.
func ends(t *testing.T, port string) {
	t.Helper()
	assert.Eventually(t, func() bool {
		connection, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = connection.Close()
		}
		return err != nil
	}, 30*time.Second, 5*time.Millisecond, "the server on %s goes on", port)
}

func TestServersEndWithATestThatIsKilled(t *testing.T) {
	if os.Getenv(victim) != "" {
		one, stopped := Start(t), Start(t)
		require.NoError(t, stopped.Process.Process.Signal(syscall.SIGSTOP))
		fmt.Printf("\nport %d\nport %d\n", one.Port, stopped.Port)
		select {}
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-test.run", "^"+t.Name()+"$", "-test.v") //nolint:gosec // this very program
	cmd.Env = append(os.Environ(), victim+"=1")
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, start(cmd))
	var ports []string
	for lines := bufio.NewScanner(output); len(ports) < 2 && lines.Scan(); {
		if port, is := strings.CutPrefix(lines.Text(), "port "); is {
			ports = append(ports, port)
		}
	}
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Len(t, ports, 2)
	for _, port := range ports {
		ends(t, port)
	}
}

func TestOnlyTheCommandGoIsWatched(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	for name, want := range map[string]bool{"go": true, "gopher": false, "bash": false} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.Symlink(sleep, path))
		cmd := &exec.Cmd{Path: path, Args: []string{"sleep", "600"}}
		require.NoError(t, start(cmd))
		assert.Equal(t, want, isGo(cmd.Process.Pid), name)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
	}
	assert.False(t, isGo(0), "no process")
}

func TestAServerOfAnotherTestIsNotTaken(t *testing.T) {
	other := Start(t)
	assert.Nil(t, startAt(t, other.Port, nil))
	assert.NoError(t, other.Ping(t.Context()).Err())
}

func TestAServerThatIsRestartedIsEmptyAndEndsWithTheTest(t *testing.T) {
	var port string
	t.Run("restarted", func(t *testing.T) {
		server := Start(t)
		port = fmt.Sprint(server.Port)
		require.NoError(t, server.Set(t.Context(), "key", "value", 0).Err())
		server.Restart(t)
		assert.Zero(t, server.Exists(t.Context(), "key").Val())
	})
	ends(t, port)
}
