package barrier

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

// arrivals is how many arrivals a process has counted.
func (p *process) arrivals() (n float64) {
	for _, value := range values(p.collected("barrier_arrivals")) {
		n += value
	}
	return n
}

// eventually waits for something that has to come.
func eventually(t *testing.T, met func() bool, what string) {
	t.Helper()
	require.Eventually(t, met, wakeLimit, wakeTick, what)
}

// Nobody is woken by an acknowledgement. All the same an arrival counts when the store has it, not when it is released.
func TestArrivalsCountWhileTheirUsersWait(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	users := p.users(4, fmt.Sprintf(`const b = new Barrier('default', { parties: 4, cyclic: true, store: '%s', timeout: '20s' })`, server.URL()))
	for phase := range 2 {
		before := float64(phase * 4)
		waited := make(chan []string)
		go func() { waited <- together(users[:3], `b.arriveAndWait().outcome`) }()
		eventually(t, func() bool { return p.arrivals() == before+3 }, "they are counted")
		assert.Equal(t, 3, p.waiting("default"), "while they wait")
		users[3].mustRun(`b.arriveAndWait()`)
		assert.Equal(t, []string{`"arrived"`, `"arrived"`, `"arrived"`}, <-waited)
		assert.InDelta(t, before+4, p.arrivals(), 0, "once each")
	}
}

// An arrival stands from the call on, and counts, whether or not the store has said so by the time its iteration ends.
func TestArrivalOfAnIterationThatEndedCountsOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	p.root.outbox.gather() // as with an end of the test to wait for
	script := fmt.Sprintf(`const b = new Barrier('default', { parties: 9, store: '%s', runId: 'r', timeout: '1h' })`, server.URL())
	users := p.users(3, script)
	park := func(v *virtualUser) (ended chan error) {
		ended = make(chan error)
		before := p.waiting("default")
		go func() { _, err := v.run(`b.arriveAndWait()`); ended <- err }()
		eventually(t, func() bool { return p.waiting("default") == before+1 }, "it waits")
		return ended
	}
	known := park(users[0])
	eventually(t, func() bool { return p.arrivals() == 1 }, "the store has it")
	users[0].cancel()
	require.Error(t, <-known)

	goOn := pause(t, server)
	unknown := park(users[1])
	users[1].cancel()
	require.Error(t, <-unknown)
	eventually(t, func() bool { return p.arrivals() == 2 }, "it counts")
	goOn()
	eventually(t, func() bool { return users[2].json(`b.status().arrived`) == "2" }, "it is delivered")
	assert.InDelta(t, 2, p.arrivals(), 0)
}

// Whoever wakes at the gate still learns what has become of its own arrival.
func TestReleaseThatOvertakesArrivals(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	// Takes away what is needed to record anything, and gives it back. Messages still come.
	mayRecord := func(rules ...any) {
		require.NoError(t, server.Do(t.Context(), append([]any{"ACL", "SETUSER", "mute", "on", ">secret", "~*", "&*"}, rules...)...).Err())
	}
	mayRecord("+@all")
	script := `const b = new Barrier('default', { parties: 3, store: '%s', runId: 'r', timeout: '1h', late: 'error' })`
	here, there := newProcess(t), newProcess(t)
	users := here.users(4, fmt.Sprintf(script, fmt.Sprintf("redis://mute:secret@127.0.0.1:%d", server.Port)))
	other := there.user(9, fmt.Sprintf(script, server.URL()))
	users[3].mustRun(`b.missing()`)
	other.mustRun(`b.missing()`)

	returned := make(chan string, 3)
	park := func(v *virtualUser) {
		before := here.waiting("default")
		go func() {
			returned <- together([]*virtualUser{v}, `(() => { try { return b.arriveAndWait().outcome } catch (e) { return e.name } })()`)[0]
		}()
		eventually(t, func() bool { return here.waiting("default") == before+1 }, "it waits")
	}
	park(users[0])
	eventually(t, func() bool { return users[3].json(`b.status().arrived`) == "1" }, "the store has it")
	mayRecord("-evalsha", "-eval")
	park(users[1])
	eventually(t, func() bool { return len(here.messages()) > 0 }, "the store refuses the second one")
	park(users[2])
	other.mustRun(`b.arrive({ participant: 'x' }); b.arrive({ participant: 'y' })`)
	assert.Equal(t, `"arrived"`, <-returned, "whose arrival was known")
	eventually(t, func() bool { return users[3].json(`b.status().released`) == "[0]" }, "released")
	assert.Empty(t, returned, "the others do not know yet what they are")

	mayRecord("+@all")
	assert.ElementsMatch(t, []string{`"arrived"`, `"BarrierLateError"`}, []string{<-returned, <-returned},
		"the second one was on its way before, the third one was not")
	assert.InDelta(t, 2, here.arrivals(), 0, "a late one is no arrival")
}

func TestArrivalThatIsAConflictIsTakenBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	script := fmt.Sprintf(`const b = new Barrier('default', { parties: 3, cyclic: true, store: '%s', runId: 'r', timeout: '20s' })`, server.URL())
	here, there := newProcess(t), newProcess(t)
	there.user(1, script).mustRun(`b.arrive()`)
	v := here.user(1, script)
	assert.Equal(t, `BarrierConflictError`, v.errorOf(`b.arriveAndWait()`, `e.name`))
	assert.InDelta(t, 0, here.arrivals(), 0)
	assert.Equal(t, `"arrived"`, v.json(`(() => { b.fail('login', { participant: 'z' });
		return b.arriveAndWait({ participant: 'own' }).outcome })()`))
	assert.InDelta(t, 1, here.arrivals(), 0)
}

// Late news and late wakes need different cures, so that a process tells them apart.
func TestStatusTellsWhenTheNewsCameAndWhoWokeFirst(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	users := p.users(3, fmt.Sprintf(`const b = new Barrier('default', { parties: 3, store: '%s', timeout: '20s' });
		const news = () => { const { receivedMs, firstWakeMs } = b.status(); return [typeof receivedMs, typeof firstWakeMs] }`, server.URL()))
	users[2].mustRun(`b.missing()`)
	assert.Equal(t, "[null,null]", users[2].json(`[b.status().receivedMs, b.status().firstWakeMs]`))
	waited := make(chan []string)
	go func() { waited <- together(users[:2], `b.arriveAndWait().outcome`) }()
	eventually(t, func() bool { return p.waiting("default") == 2 }, "they wait")
	users[2].mustRun(`b.arrive()`)
	<-waited
	assert.JSONEq(t, `["number","number"]`, users[2].json(`news()`))
	first := slices.Min(values(p.collected("barrier_skew_duration")))
	assert.Equal(t, "true", users[2].json(fmt.Sprintf(`Math.max(0, b.status().firstWakeMs) === %v`, first)))
}
