package barrier

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"go.k6.io/k6/v2/lib"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// iterationEnded is the reason of participants whose iteration ended without an outcome.
const iterationEnded = "iteration-ended"

// eventNamed finds one of k6's events by its name. k6 lets extensions subscribe to events whose type they cannot name,
// so that the type is inferred from the method that takes it.
func eventNamed[T interface {
	~uint8
	fmt.Stringer
}, C any](_ func(...T) (uint64, C), name string) (T, bool) {
	for t := range T(32) {
		if t.String() == name {
			return t, true
		}
	}
	return 0, false
}

// watch is what a process has to know to account for virtual users that die before they have even constructed their
// barrier: the barriers with failUnaccounted, or with those who run as parties,
// that any of its virtual users has constructed.
type watch struct {
	mu        sync.Mutex
	barriers  []*config
	instances []*instance
	closed    bool
	endings   sync.WaitGroup
}

// enrol adds a virtual user. Its iterations are watched from the first barrier with failUnaccounted on; all others are
// spared the detour through goroutines that k6 makes of each event.
func (w *watch) enrol(i *instance) {
	w.mu.Lock()
	w.instances = append(w.instances, i)
	needed := len(w.barriers) > 0
	w.mu.Unlock()
	if needed {
		i.watchIterations()
	}
}

// add adds a barrier with failUnaccounted, constructed by any virtual user.
func (w *watch) add(c *config) {
	w.mu.Lock()
	known := slices.ContainsFunc(w.barriers, func(known *config) bool { return known.identity == c.identity })
	var instances []*instance
	if !known {
		w.barriers = append(w.barriers, c)
		instances = slices.Clone(w.instances)
	}
	w.mu.Unlock()
	for _, i := range instances {
		i.watchIterations()
	}
}

// of lists the barriers whose participants are the virtual users of a scenario.
func (w *watch) of(scenario string) []*config {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []*config
	for _, c := range w.barriers {
		if c.concerns(scenario) {
			found = append(found, c)
		}
	}
	return found
}

// run accounts for an iteration that k6 does not wait for; done is closed when that is over. Once the process is closing it
// is too late for that.
func (w *watch) run(end func()) (done <-chan struct{}) {
	over := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		close(over)
		return over
	}
	w.endings.Go(func() {
		defer close(over)
		end()
	})
	return over
}

// close waits for what run started, but not for longer than the deadline.
func (w *watch) close(deadline time.Duration) {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	done := make(chan struct{})
	go func() {
		w.endings.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(deadline):
	}
}

// iterationWatcher sees the iterations of one virtual user.
//
// k6 emits IterEnd and waits for its subscribers until the context of the scenario ends. Where that has ended already,
// which is what interrupts a virtual user, the wait chooses at random between the end of the context and a subscriber
// that is done, and warns "context is done before all 'IterEnd' events were processed", however fast the subscriber was
// (event.System.Emit of k6 v2.2.0). Only a virtual user without a subscription is sure to be spared the warning. So the
// subscription lasts no longer than it is needed: from the start of an iteration until its virtual user is accounted
// for, or k6 interrupts it in a call of this module. What remains is a virtual user that k6 interrupts elsewhere, such
// as in sleep(), before it has an outcome: no extension is told about that in time.
type iterationWatcher struct {
	once sync.Once

	mu          sync.Mutex
	scenario    string                // of the iteration; empty while its start was not seen
	subscribe   func() (again func()) // to the end of the iteration
	unsubscribe func()                // nil while there is no subscription
}

// watchIterations subscribes to the starts of iterations, and to the end of the one under way.
func (i *instance) watchIterations() {
	i.watcher.once.Do(func() {
		events := i.events.Local
		if events == nil {
			return
		}
		start, ok := eventNamed(events.Subscribe, "IterStart")
		end, ok2 := eventNamed(events.Subscribe, "IterEnd")
		if !ok || !ok2 {
			i.root.logger.Warn("this k6 does not tell when an iteration ends, so failUnaccounted and parties that run have no effect")
			return
		}
		w := &i.watcher
		w.mu.Lock()
		defer w.mu.Unlock()
		w.subscribe = func() func() {
			id, ends := events.Subscribe(end)
			go func() {
				for event := range ends {
					i.iterationEnded(scenarioOf(event.Data))
					event.Done()
				}
			}()
			return func() { events.Unsubscribe(id) }
		}
		w.unsubscribe = w.subscribe()

		_, starts := events.Subscribe(start)
		go func() {
			for event := range starts {
				i.iterationStarted(scenarioOf(event.Data))
				event.Done()
			}
		}()
	})
}

// scenarioOf reads the scenario's name out of event data whose type cannot be named here.
func scenarioOf(data any) string {
	v := reflect.ValueOf(data)
	if v.Kind() != reflect.Struct {
		return ""
	}
	name := v.FieldByName("ScenarioName")
	if name.Kind() != reflect.String {
		return ""
	}
	return name.String()
}

// iterationStarted subscribes to the end of the iteration where that matters.
func (i *instance) iterationStarted(scenario string) {
	i.mu.Lock()
	for _, u := range i.users {
		u.startIteration()
	}
	i.mu.Unlock()

	barriers := i.root.watch.of(scenario)
	expected := len(barriers) > 0
	w := &i.watcher
	w.mu.Lock()
	w.scenario = scenario
	switch {
	case expected && w.unsubscribe == nil:
		w.unsubscribe = w.subscribe()
	case !expected:
		w.ignore()
	}
	w.mu.Unlock()
	for _, c := range barriers {
		if c.Parties.runIn(scenario) {
			i.runs(c, scenario, true)
		}
	}
}

// ignore ends the subscription to the end of the iteration.
func (w *iterationWatcher) ignore() {
	if w.unsubscribe != nil {
		w.unsubscribe()
		w.unsubscribe = nil
	}
}

// accounted is called after each outcome of the virtual user. Once all barriers have one, the end of the iteration does
// not matter any more.
func (i *instance) accounted() {
	w := &i.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unsubscribe == nil || w.scenario == "" {
		return
	}
	for _, c := range i.root.watch.of(w.scenario) {
		if !i.user(c).isAccounted() || c.Parties.runIn(w.scenario) {
			return
		}
	}
	w.ignore()
}

// interrupted is called when a call of this module finds that the iteration of the context is over; done is closed once the
// virtual user is accounted for.
func (i *instance) interrupted(ctx context.Context) (done <-chan struct{}) {
	w := &i.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unsubscribe == nil {
		over := make(chan struct{})
		close(over)
		return over
	}
	w.ignore()
	scenario := w.scenario
	if state := lib.GetScenarioState(ctx); scenario == "" && state != nil {
		scenario = state.Name
	}
	return i.root.watch.run(func() { i.iterationEnded(scenario) })
}

// iterationEnded fails the participants of this virtual user that have no outcome. k6 waits for it, unless the
// scenario is over.
func (i *instance) iterationEnded(scenario string) {
	for _, c := range i.root.watch.of(scenario) {
		u := i.user(c)
		if slices.Contains(c.FailUnaccounted, scenario) && !u.isAccounted() && !u.spectates() {
			i.failUnaccounted(c, u)
		}
		if c.Parties.runIn(scenario) {
			i.runs(c, scenario, false)
		}
	}
}

// runs tells the core that the virtual user runs from now on, or does not any more. k6 waits for it.
func (i *instance) runs(config *config, scenario string, begins bool) {
	c := i.ownCall(config, i.user(config), "parties")
	if !begins && c.config.opened(i.root) == nil {
		return // nobody was told that it runs
	}
	s, err := c.open()
	if err == nil && !isClosed(s.Broken()) && (config.Cyclic || s.Release(0) == nil) {
		if begins {
			err = c.goOn(s)
		} else {
			c.pause(s)
		}
	}
	if err != nil && !errors.Is(err, core.ErrEnded) {
		if _, said := i.root.unaccounted.LoadOrStore(config.identity, struct{}{}); !said {
			i.root.logger.WithError(err).Warnf("barrier %q: nobody was told that %s runs in scenario %q; "+
				"the same for others is not logged", config.Name, c.participant, scenario)
		}
	}
}

// ownCall is a call that no script made.
func (i *instance) ownCall(config *config, u *user, name string) *call {
	state := i.vu.State()
	// The iteration's context has ended, and k6 does not show its parent. The core bounds each operation by itself.
	ctx := context.Background()
	c := &call{
		inst: i, config: config, user: u, name: name, ctx: ctx,
		state: state, tags: state.Tags.GetCurrentValues(), owner: state.VUIDGlobal, own: true,
	}
	c.participant, c.explicit = u.participant(state.VUIDGlobal)
	return c
}

func (i *instance) failUnaccounted(config *config, u *user) {
	c := i.ownCall(config, u, "failUnaccounted")
	if err := c.failLast(); err != nil {
		if _, said := i.root.unaccounted.LoadOrStore(config.identity, struct{}{}); !said {
			i.root.logger.WithError(err).Warnf("barrier %q: %s could not be failed after its iteration ended; "+
				"the same for others is not logged", config.Name, c.participant)
		}
	}
}

// failLast fails the participant, unless nobody waits for it any more: it would only count as late.
func (c *call) failLast() error {
	s, err := c.open()
	if err != nil {
		return err
	}
	if isClosed(s.Broken()) || !c.config.Cyclic && s.Release(0) != nil {
		return nil
	}
	_, err = c.do(s, core.Fail, iterationEnded)
	var status *core.Error
	if errors.As(err, &status) && status.Status == core.Broken {
		return nil
	}
	return err
}
