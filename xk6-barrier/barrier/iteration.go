package barrier

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/metrics"

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

// iterationWatcher sees the ends of a virtual user's iterations.
type iterationWatcher struct {
	once sync.Once
}

// watchIterations subscribes to the ends of iterations, for virtual users with a barrier that has failUnaccounted. All
// others are spared the detour through a goroutine that k6 makes of each event.
func (i *instance) watchIterations() {
	i.watcher.once.Do(func() {
		events := i.vu.Events().Local
		if events == nil {
			return
		}
		end, ok := eventNamed(events.Subscribe, "IterEnd")
		if !ok {
			i.root.logger.Warn("this k6 does not tell when an iteration ends, so failUnaccounted has no effect")
			return
		}
		_, ends := events.Subscribe(end)
		go func() {
			for event := range ends {
				i.iterationEnded(scenarioOf(event.Data))
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

// iterationEnded fails the participants of this virtual user that have no outcome. k6 waits for it, unless the
// scenario is over.
func (i *instance) iterationEnded(scenario string) {
	i.mu.Lock()
	users := make([]*user, 0, len(i.users))
	for _, u := range i.users {
		users = append(users, u)
	}
	i.mu.Unlock()

	for _, u := range users {
		if !u.endIteration() && slices.Contains(u.config.FailUnaccounted, scenario) {
			i.failUnaccounted(u)
		}
	}
}

func (i *instance) failUnaccounted(u *user) {
	state := i.vu.State()
	c := &call{
		inst: i, config: u.config, user: u, name: "failUnaccounted",
		// The iteration's context has ended, and k6 does not show its parent. The core bounds each operation by itself.
		ctx: context.Background(), state: state, tags: state.Tags.GetCurrentValues(), owner: state.VUIDGlobal,
		push: pushAfterIteration(i.vu),
	}
	c.participant, c.explicit = u.participant(state.VUIDGlobal)
	c.ifUnknown = true
	if _, err := c.outcome(core.Fail, iterationEnded); err != nil {
		i.root.logger.WithError(err).Warnf("barrier %q: %s could not be failed after its iteration ended",
			u.config.Name, c.participant)
	}
}

// pushAfterIteration pushes samples when an iteration, and with it its context, has ended. k6 waits for the handler of
// the event while the scenario runs; once the test has ended, it may close the channel.
func pushAfterIteration(vu interface{ State() *lib.State }) func(metrics.SampleContainer) {
	return func(samples metrics.SampleContainer) {
		defer func() { _ = recover() }() // the channel is closed: too late for this sample
		vu.State().Samples <- samples
	}
}
