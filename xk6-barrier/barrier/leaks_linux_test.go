package barrier

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

// held counts the core's threads and the descriptors of this process.
func held(t *testing.T) (threads, descriptors int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	for _, task := range tasks {
		name, err := os.ReadFile("/proc/self/task/" + task.Name() + "/comm")
		if err == nil && strings.HasPrefix(string(name), "k6-barrier") {
			threads++
		}
	}
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return threads, len(files)
}

// It is not parallel: other tests start engines of their own. goleak looks after goroutines.
func TestClosedEngineLeavesNothingBehind(t *testing.T) {
	server := redistest.Start(t)
	clients := func() int {
		return strings.Count(server.ClientList(t.Context()).Val(), "\n")
	}
	session := func() {
		p := newProcess(t)
		v := p.user(1, fmt.Sprintf(`const b = new Barrier('default', { parties: 2, store: '%s', runId: 'r%d', timeout: 10 });
			const q = new QueueCounter({ redis: '%[1]s', keys: ['k'] })`, server.URL(), time.Now().UnixNano()))
		v.mustRun(`b.arrive(); q.total(); try { b.wait() } catch {}`)
		threads, _ := held(t)
		assert.Positive(t, threads, "the core has a thread")
		assert.Equal(t, 2, clients(), "one connection, and that of this test")
		p.root.client.Close(5 * time.Second)
	}
	session() // what is made once for the process
	_, before := held(t)
	for range 3 {
		session()
	}
	require.Eventually(t, func() bool { return clients() == 1 }, wakeLimit, wakeTick)
	// The kernel lists a thread for a moment after it was joined.
	gone := func() bool {
		threads, descriptors := held(t)
		return threads == 0 && descriptors == before
	}
	require.Eventually(t, gone, wakeLimit, wakeTick, "the core's threads and the descriptors at the start")
	for _, key := range server.Keys(t.Context(), "*").Val() {
		assert.Positive(t, server.TTL(t.Context(), key).Val(), key)
	}
}
