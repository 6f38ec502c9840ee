package barrier

import (
	"testing"
	"time"

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
		users[at] = p.user(uint64(at+1), `const b = new Barrier('gate', { parties: 300 })`, func(s *lib.State) {
			s.Samples = taken
			s.Options.SystemTags = metrics.NewSystemTagSet() // as usual: none that tells one user from another
		})
	}
	for _, result := range together(users, `b.arriveAndWait().arrived`) {
		require.Equal(t, `300`, result, "the script went on although nobody took the samples")
	}
	ended := make(chan struct{})
	go func() { global.emit("TestEnd", nil); close(ended) }()
	var containers int
	counts, sums := map[string]int{}, map[string]float64{}
	for running := true; running; {
		select {
		case container := <-taken:
			containers++
			for _, s := range container.GetSamples() {
				counts[s.Metric.Name]++
				sums[s.Metric.Name] += s.Value
				assert.Equal(t, "0", s.Metadata["phase"])
			}
		case <-ended:
			running = false
		}
	}
	assert.InDelta(t, parties, sums["barrier_arrivals"], 0)
	assert.LessOrEqual(t, counts["barrier_arrivals"], containers, "those of a batch are one sample")
	assert.Equal(t, parties, counts["barrier_wait_duration"])
	assert.Less(t, containers, parties, "they come in batches")
}

func TestOnlyIdenticalCounterSamplesBecomeOne(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	m, err := registerMetrics(p.registry)
	require.NoError(t, err)
	tags := func(name, value string) metrics.TagsAndMeta {
		return metrics.TagsAndMeta{Tags: p.registry.RootTagSet().With(name, value)}
	}
	own := tags("scenario", "a")
	own.SetMetadata("mine", "x")
	began := time.Now()
	var readings []reading
	add := func(metric *metrics.Metric, tags metrics.TagsAndMeta, phase uint32, reason string) {
		readings = append(readings, reading{
			metric: metric, tags: tags, barrier: "b", reason: reason, phase: phase, value: 2, at: began.Add(time.Duration(len(readings))),
		})
	}
	for range 3 {
		add(m.arrivals, tags("scenario", "a"), 0, "")
		add(m.arrivals, tags("scenario", "b"), 0, "")
		add(m.arrivals, tags("scenario", "a"), 1, "")
		add(m.failures, tags("scenario", "a"), 0, "login")
		add(m.failures, tags("scenario", "a"), 0, "sse")
		add(m.waitDuration, tags("scenario", "a"), 0, "")
		add(m.arrivals, own, 0, "")
	}
	samples := samplesOf(readings)
	require.Len(t, samples, 5+3+3, "a trend, and what has metadata of its own, stay as they are")
	for at, s := range samples[:5] {
		assert.InDelta(t, 6, s.Value, 0)
		assert.Equal(t, readings[14+at].at, s.Time, "that of the last")
	}
}
