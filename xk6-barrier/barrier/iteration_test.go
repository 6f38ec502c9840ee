package barrier

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/lib"
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
		subscribers map[T][]chan *E
	}
)

// newEvents infers what it must not name.
func newEvents[S subscriber[T, E], T eventType, E interface{ ~eventData[T] }](_ S) *events[T, E] {
	return &events[T, E]{subscribers: make(map[T][]chan *E)}
}

func (e *events[T, E]) Subscribe(types ...T) (uint64, <-chan *E) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := make(chan *E, 1)
	for _, t := range types {
		e.subscribers[t] = append(e.subscribers[t], c)
	}
	return 1, c
}

func (e *events[T, E]) Unsubscribe(uint64) {}

// emit sends an event and waits until it is dealt with, as k6 does. It returns how many were told.
func (e *events[T, E]) emit(name string, data any) int {
	t, _ := eventNamed(e.Subscribe, name)
	e.mu.Lock()
	subscribers := e.subscribers[t]
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
	for _, subscribers := range e.subscribers {
		for _, c := range subscribers {
			close(c)
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

// watchedUser is a virtual user whose iterations can be ended.
func watchedUser(p *process, id uint64, script string) (v *virtualUser, endIteration func(scenario string) int) {
	local := newEvents(common.Events{}.Local)
	p.t.Cleanup(local.close)
	p.events = common.Events{Local: local}
	return p.user(id, script), func(scenario string) int {
		return local.emit("IterEnd", iterationData{VUID: id, ScenarioName: scenario})
	}
}

func TestIterationWithoutAnOutcomeFails(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('default', { parties: 9, cyclic: true, failUnaccounted: ['users', 'others'] })`

	silent, end := watchedUser(p, 1, script)
	end("controllers")
	assert.Equal(t, `0`, silent.json(`b.status().failedTotal`), "not of a scenario that is named")
	end("users")
	assert.Equal(t, `[1,{"iteration-ended":1}]`, silent.json(`[b.status().failedTotal, b.status().failed]`))
	assert.Equal(t, `"failed"`, silent.json(`b.arrive().outcome`), "under its own id")

	arrived, end := watchedUser(p, 2, script)
	arrived.mustRun(`b.arrive()`)
	end("users")
	assert.Equal(t, `1`, arrived.json(`b.status().failedTotal`))

	helper, end := watchedUser(p, 3, script)
	helper.mustRun(`b.register({ participant: 'helper' }); b.fail('crash', { participant: 'another' })`)
	end("others")
	assert.Equal(t, `{"crash":1,"iteration-ended":2}`, helper.json(`b.status().failed`), "an outcome of another is not its own")
	assert.Equal(t, `"failed"`, helper.json(`b.arrive({ participant: 'helper' }).outcome`), "under the registered id")

	failures := p.collected("barrier_failures")
	last := failures[len(failures)-1]
	reason, _ := last.Tags.Get("reason")
	assert.Equal(t, iterationEnded, reason)
}

func TestIterationsAreWatchedOnlyWhereItMatters(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	_, end := watchedUser(p, 1, `new Barrier('default', { parties: 9 })`)
	assert.Zero(t, end("users"))
	_, end = watchedUser(p, 2, `new Barrier('a', { parties: 9, failUnaccounted: ['users'] });
		new Barrier('b', { parties: 9, failUnaccounted: ['users'] })`)
	assert.Equal(t, 1, end("none"))
}

func TestSamplesAfterTheTestEndAreDropped(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v, end := watchedUser(p, 1, `const b = new Barrier('default', { parties: 9, failUnaccounted: ['users'] })`)
	closed := make(chan metrics.SampleContainer)
	close(closed)
	v.VU.StateField.Samples = closed
	end("users")
	assert.Equal(t, `1`, p.user(2, `const b = new Barrier('default', { parties: 9, failUnaccounted: ['users'] })`,
		func(*lib.State) {}).json(`b.status().failedTotal`))
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
	assert.Equal(t, "KBAR_CLOSED", v.errorOf(`b.wait()`, `e.code`))
}
