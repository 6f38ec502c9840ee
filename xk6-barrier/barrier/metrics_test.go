package barrier

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/metrics"
)

// values are the values of a metric's samples, in the order in which they were pushed.
func values(samples []metrics.Sample) []float64 {
	var v []float64
	for _, s := range samples {
		v = append(v, s.Value)
	}
	return v
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('gate', { parties: 3, cyclic: true, reasons: ['login', 'sse'], timeout: 20 })`)
	v.mustRun(`b.arrive({ participant: 1 }); b.arrive({ participant: 1 });
		b.fail('login', { participant: 2 }); b.fail('sse', { participant: 2 })`)
	v.mustRun(`try { b.wait() } catch (e) {}`)
	v.mustRun(`b.arriveAndWait({ participant: 3 }); b.arrive({ participant: 1 })`)

	arrivals := p.collected("barrier_arrivals")
	assert.Equal(t, []float64{0, 1, 1, 1}, values(arrivals), "a zero at first use; a repeat does not count")
	last := arrivals[len(arrivals)-1]
	assert.Equal(t, map[string]string{"barrier": "gate", "scenario": "users"}, last.Tags.Map())
	assert.Equal(t, map[string]string{"phase": "1"}, last.Metadata)

	failures := p.collected("barrier_failures")
	assert.Equal(t, []float64{0, 0, 1}, values(failures), "a zero for each reason")
	reason, _ := failures[2].Tags.Get("reason")
	assert.Equal(t, "login", reason)

	assert.Equal(t, []float64{0, 1}, values(p.collected("barrier_timeouts")))
	waits := values(p.collected("barrier_wait_duration"))
	require.Len(t, waits, 2)
	assert.GreaterOrEqual(t, waits[0], 20.0, "the wait that timed out, with its whole length")

	skews := len(p.collected("barrier_skew_duration"))
	spectator := p.user(2, `const b = new Barrier('gate', { parties: 3, cyclic: true, reasons: ['login', 'sse'] })`)
	assert.Equal(t, `0`, spectator.json(`b.wait().phase`))
	assert.Len(t, p.collected("barrier_skew_duration"), skews, "not of a wait that was over already")
}

func TestSkewIsOfThoseWhoSlept(t *testing.T) {
	t.Parallel()
	const sleepers = 8
	p := newProcess(t)
	users := p.users(sleepers+1, `const b = new Barrier('gate', { parties: 9 })`)
	done := make(chan []string)
	go func() { done <- together(users[:sleepers], `b.arriveAndWait().reason`) }()
	last := users[sleepers]
	require.Eventually(t, func() bool { return last.json(`b.status().arrived`) == "8" }, wakeLimit, wakeTick)
	require.Eventually(t, func() bool { return p.waiting("gate") == sleepers }, wakeLimit, wakeTick)
	last.mustRun(`b.arrive()`)
	<-done
	skews := values(p.collected("barrier_skew_duration"))
	require.Len(t, skews, sleepers)
	for _, skew := range skews {
		assert.GreaterOrEqual(t, skew, 0.0)
	}
}

func TestFailureWithoutDeclaredReasonsHasAZeroToo(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.user(1, `const b = new Barrier('gate', { parties: 2 })`).mustRun(`b.arrive()`)
	assert.Equal(t, []float64{0}, values(p.collected("barrier_failures")))
}

// Every sample has the tags and the metadata that its virtual user had when it made the call, and the barrier's own.
func TestEverySampleHasTheTagsOfItsVirtualUser(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('gate', { parties: 2, timeout: 10, reasons: ['login'] })`, func(s *lib.State) {
		s.Tags.Modify(func(current *metrics.TagsAndMeta) {
			current.SetTag("group", "::checkout")
			current.SetTag("mine", "custom")
			current.SetMetadata("trace", "7")
		})
	})
	v.mustRun(`b.fail('login', { participant: 2 }); try { b.wait() } catch {}; b.arriveAndWait()`)
	sleeper := p.users(2, `const c = new Barrier('skew', { parties: 2 })`)
	together(sleeper, `c.arriveAndWait().reason`)

	names := map[string]map[string]string{
		"barrier_arrivals": {}, "barrier_failures": {"reason": "login"}, "barrier_timeouts": {}, "barrier_wait_duration": {},
	}
	for name, more := range names {
		want := map[string]string{"scenario": "users", "group": "::checkout", "mine": "custom", "barrier": "gate"}
		maps.Copy(want, more)
		found := 0
		for _, s := range p.collected(name) {
			if barrier, _ := s.Tags.Get("barrier"); barrier == "gate" {
				found++
				assert.Equal(t, want, s.Tags.Map(), name)
				assert.Equal(t, map[string]string{"trace": "7", "phase": "0"}, s.Metadata, name)
			}
		}
		assert.Positive(t, found, name)
	}
	skews := p.collected("barrier_skew_duration")
	assert.NotEmpty(t, skews)
	for _, s := range skews {
		if barrier, _ := s.Tags.Get("barrier"); barrier == "gate" {
			continue // the last arrival may or may not have slept
		}
		assert.Equal(t, map[string]string{"scenario": "users", "barrier": "skew"}, s.Tags.Map())
	}
}
