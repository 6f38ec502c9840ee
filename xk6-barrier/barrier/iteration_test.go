package barrier

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/metrics"
)

type (
	// eventType is what k6's type of events can do, which has no name outside k6.
	eventType interface {
		~uint8
		fmt.Stringer
	}

	// eventData is k6's event.
	eventData[T eventType] = struct {
		Type T
		Data any
		Done func()
	}

	// subscriber is the interface that k6 has for event systems.
	subscriber[T eventType, E any] interface {
		Subscribe(types ...T) (uint64, <-chan *E)
		Unsubscribe(id uint64)
	}

	// events stands in for k6's event system.
	events[T eventType, E interface{ ~eventData[T] }] struct {
		mu          sync.Mutex
		last        uint64
		subscribers map[T]map[uint64]chan *E
	}
)

// newEvents infers what it must not name.
func newEvents[S subscriber[T, E], T eventType, E interface{ ~eventData[T] }](_ S) *events[T, E] {
	return &events[T, E]{subscribers: make(map[T]map[uint64]chan *E)}
}

func (e *events[T, E]) Subscribe(types ...T) (uint64, <-chan *E) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := make(chan *E, 1)
	e.last++
	for _, t := range types {
		if e.subscribers[t] == nil {
			e.subscribers[t] = make(map[uint64]chan *E)
		}
		e.subscribers[t][e.last] = c
	}
	return e.last, c
}

func (e *events[T, E]) Unsubscribe(id uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, subscribers := range e.subscribers {
		if c, ok := subscribers[id]; ok {
			close(c)
			delete(subscribers, id)
		}
	}
}

// emit sends an event and waits until it is dealt with, as k6 does. It returns how many were told.
func (e *events[T, E]) emit(name string, data any) int {
	t, _ := eventNamed(e.Subscribe, name)
	e.mu.Lock()
	subscribers := slices.Collect(maps.Values(e.subscribers[t]))
	e.mu.Unlock()
	for _, c := range subscribers {
		done := make(chan struct{})
		event := E(eventData[T]{Type: t, Data: data, Done: func() { close(done) }})
		c <- &event
		<-done
	}
	return len(subscribers)
}

// close ends all subscriptions.
func (e *events[T, E]) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, subscribers := range e.subscribers {
		for id, c := range subscribers {
			close(c)
			delete(subscribers, id)
		}
	}
}

// iterationData is shaped like k6's own.
type iterationData struct {
	Iteration    int64
	VUID         uint64
	ScenarioName string
	Error        error
}

// watched is a virtual user whose iterations a test starts and ends.
type watched struct {
	*virtualUser

	emit func(name, scenario string) int
}

func (p *process) watched(id uint64, script string) watched {
	local := newEvents(common.Events{}.Local)
	p.t.Cleanup(local.close)
	p.events = common.Events{Local: local}
	defer func() { p.events = common.Events{} }()
	return watched{p.user(id, script), func(name, scenario string) int {
		return local.emit(name, iterationData{VUID: id, ScenarioName: scenario})
	}}
}

// iterate runs an iteration and returns how many were told of its end.
func (w watched) iterate(scenario, code string) int {
	w.process.t.Helper()
	w.emit("IterStart", scenario)
	w.mustRun(code)
	return w.emit("IterEnd", scenario)
}

func TestIterationWithoutAnOutcomeFails(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('default', { parties: 9, cyclic: true, failUnaccounted: ['users', 'others'] })`

	silent := p.watched(1, script)
	silent.iterate("controllers", ``)
	assert.Equal(t, `0`, silent.json(`b.status().failedTotal`), "only of scenarios that are named")
	silent.iterate("users", ``)
	assert.Equal(t, `[1,{"iteration-ended":1}]`, silent.json(`[b.status().failedTotal, b.status().failed]`))
	assert.Equal(t, `"failed"`, silent.json(`b.arrive().outcome`), "under its own id")

	arrived := p.watched(2, script)
	arrived.iterate("users", `b.arrive()`)
	assert.Equal(t, `1`, arrived.json(`b.status().failedTotal`))

	helper := p.watched(3, script)
	helper.iterate("others", `b.register({ participant: 'helper' }); b.fail('crash', { participant: 'another' })`)
	assert.Equal(t, `{"crash":1,"iteration-ended":2}`, helper.json(`b.status().failed`), "an outcome of another is not its own")
	assert.Equal(t, `"failed"`, helper.json(`b.arrive({ participant: 'helper' }).outcome`), "under the registered id")

	failures := p.collected("barrier_failures")
	last := failures[len(failures)-1]
	reason, _ := last.Tags.Get("reason")
	assert.Equal(t, iterationEnded, reason)
}

func TestEachIterationIsAccountedFor(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.watched(1, `const b = new Barrier('default', { parties: 1, cyclic: true, failUnaccounted: ['users'] })`)
	spectator := p.user(2, `const b = new Barrier('default', { parties: 1, cyclic: true, failUnaccounted: ['users'] })`)
	v.iterate("users", `b.arriveAndWait()`)
	v.iterate("users", ``)
	v.iterate("users", `b.arriveAndWait()`)
	for phase, want := range []string{`[0,1,0]`, `[1,0,1]`, `[2,1,0]`} {
		assert.Equal(t, want, spectator.json(`(({ phase, arrived, failedTotal }) => [phase, arrived, failedTotal])(b.wait())`), phase)
	}
}

func TestNobodyIsFailedAfterTheLastRelease(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.watched(1, `const b = new Barrier('default', { parties: 1, failUnaccounted: ['users'] })`)
	v.iterate("users", `b.arriveAndWait({ participant: 'once' })`)
	assert.Equal(t, 1, v.iterate("users", ``))
	assert.Equal(t, `[1,0,0]`, v.json(`[b.status().arrived, b.status().failedTotal, b.status().late]`))

	broken := p.watched(2, `const c = new Barrier('broken', { parties: 2, failUnaccounted: ['users'] }); `)
	broken.iterate("users", `c.abort('down')`)
	assert.Equal(t, `0`, broken.json(`c.status().failedTotal`))
	for _, line := range p.messages() {
		assert.NotContains(t, line, "could not be failed")
	}
}

func TestWhoOnlyWaitsIsNoParticipant(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('default', { parties: 2, cyclic: true, timeout: 10, failUnaccounted: ['users'] })`
	spectator := p.watched(1, script)
	spectator.iterate("users", `try { b.wait() } catch {}`)
	assert.Equal(t, `0`, spectator.json(`b.status().failedTotal`))

	named := p.watched(2, script)
	named.iterate("users", `b.register({ participant: 'two' }); try { b.wait() } catch {}`)
	assert.Equal(t, `1`, named.json(`b.status().failedTotal`), "who has said who it is takes part")
}

func TestVirtualUserThatDiesBeforeItsBarrierIsAccountedFor(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	early, bystander := p.watched(1, ``), p.watched(3, ``)
	assert.Zero(t, early.emit("IterStart", "users"), "nobody watches where no barrier asks for it")
	constructor := p.watched(2, `const b = new Barrier('default', { parties: 2, failUnaccounted: ['users'] })`)

	assert.Equal(t, 1, early.emit("IterEnd", "users"), "also in the middle of an iteration")
	bystander.iterate("controllers", ``)
	assert.Equal(t, `["all",1]`, constructor.json(`(({ reason, failed }) => [reason, failed['iteration-ended']])((b.arrive(), b.wait()))`))
	late := p.watched(4, ``)
	assert.Equal(t, 1, late.iterate("users", ``), "and one that is made afterwards")
}

// Every subscription that is left when k6 interrupts a virtual user costs a warning.
func TestEndOfAnIterationIsWatchedOnlyWhereItMatters(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	assert.Zero(t, p.watched(1, `new Barrier('default', { parties: 9 })`).iterate("users", ``))

	v := p.watched(2, `const options = { parties: 9, cyclic: true, failUnaccounted: ['users'] };
		const a = new Barrier('a', options), b = new Barrier('b', options)`)
	assert.Zero(t, v.iterate("none", ``))
	assert.Equal(t, 1, v.iterate("users", ``), "one subscription for all barriers")
	assert.Equal(t, 1, v.iterate("users", `a.arrive()`), "b is missing")
	assert.Zero(t, v.iterate("users", `a.arrive(); b.fail('x')`))
	assert.Equal(t, 1, v.iterate("users", ``))
}

func TestInterruptedVirtualUserIsAccountedForWithoutAWarning(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('default', { parties: 9, failUnaccounted: ['users'] })`
	v, observer := p.watched(1, script), p.user(2, script)
	v.mustRun(`b.register({ participant: 'one' })`)
	v.emit("IterStart", "users")
	ended := make(chan error)
	go func() { _, err := v.run(`b.wait()`); ended <- err }()
	require.Eventually(t, func() bool { return p.waiting("default") == 1 }, wakeLimit, wakeTick)
	v.cancel()
	require.Error(t, <-ended)

	assert.Zero(t, v.emit("IterEnd", "users"), "a subscriber would make k6 warn")
	require.Eventually(t, func() bool { return observer.json(`b.status().failed`) == `{"iteration-ended":1}` }, wakeLimit, wakeTick)
	require.Eventually(t, func() bool {
		v := values(p.collected("barrier_failures"))
		return len(v) > 0 && v[len(v)-1] == 1
	}, wakeLimit, wakeTick)
}

func TestSamplesAfterTheTestEndAreDropped(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('default', { parties: 9, failUnaccounted: ['users'] })`
	v := p.watched(1, script)
	global := newEvents(common.Events{}.Global)
	defer global.close()
	p.events = common.Events{Global: global}
	observer := p.user(2, script)
	observer.mustRun(`b.arrive()`)
	require.Equal(t, 1, global.emit("TestEnd", nil))

	closed := make(chan metrics.SampleContainer)
	close(closed)
	v.VU.StateField.Samples = closed
	v.emit("IterEnd", "users")
	assert.Equal(t, `1`, observer.json(`b.status().failedTotal`), "it counts all the same")
}

func TestExitClosesTheEngine(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	global := newEvents(common.Events{}.Global)
	defer global.close()
	p.events = common.Events{Global: global}
	v := p.user(1, `const b = new Barrier('default', { parties: 2 })`)
	assert.Zero(t, global.emit("Exit", nil), "nothing to close before the first call")
	v.mustRun(`b.arrive()`)
	assert.Equal(t, 1, global.emit("Exit", nil))
	assert.Equal(t, 1, global.emit("TestEnd", nil), "k6 emits it before, and waits for it")
	assert.Equal(t, "CLOSED", v.errorOf(`b.wait()`, `e.code`))
}

func TestExitWaitsForIterationsThatK6DidNotWaitFor(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	global := newEvents(common.Events{}.Global)
	defer global.close()
	p.events = common.Events{Global: global}
	p.user(1, `const b = new Barrier('default', { parties: 2 })`).mustRun(`b.arrive()`)

	ended := make(chan error, 1)
	w := &p.root.watch
	w.run(func() {
		assert.Eventually(t, func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.closed
		}, wakeLimit, wakeTick)
		p.root.shared.Range(func(_, found any) bool {
			_, err := found.(*openBarrier).Status() //nolint:forcetypeassert // the map holds nothing else
			ended <- err
			return true
		})
	})
	assert.Equal(t, 1, global.emit("Exit", nil))
	require.NoError(t, <-ended, "the engine was still open")
	w.run(func() { t.Error("too late") })
}
