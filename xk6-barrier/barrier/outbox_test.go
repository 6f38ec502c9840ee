package barrier

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/metrics"
)

// k6 takes samples on one goroutine: users who are released at once must not queue up there, and nothing may be lost.
func TestSamplesAreHandedOverTogether(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	global := newEvents(common.Events{}.Global)
	defer global.close()
	p.events = common.Events{Global: global}
	// Nobody takes samples before the test ends.
	taken := make(chan metrics.SampleContainer)
	const parties = 300
	users := make([]*virtualUser, parties)
	for at := range users {
		users[at] = p.user(uint64(at+1), `const b = new Barrier('gate', { parties: 300 })`, func(s *lib.State) { s.Samples = taken })
	}
	for _, result := range together(users, `b.arriveAndWait().arrived`) {
		require.Equal(t, `300`, result, "the script went on although nobody took the samples")
	}
	ended := make(chan struct{})
	go func() { global.emit("TestEnd", nil); close(ended) }()
	var containers int
	counts := map[string]int{}
	for running := true; running; {
		select {
		case container := <-taken:
			containers++
			for _, s := range container.GetSamples() {
				counts[s.Metric.Name]++
				assert.Equal(t, "0", s.Metadata["phase"])
			}
		case <-ended:
			running = false
		}
	}
	assert.Equal(t, parties+1, counts["barrier_arrivals"], "with the zero at first use")
	assert.Equal(t, parties, counts["barrier_wait_duration"])
	assert.Less(t, containers, parties, "they come in batches")
}
