package barrier

import (
	"slices"
	"sync"
	"time"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// askedAtOnce is how many arrivals the core is asked about while nobody else may ask it.
const askedAtOnce = 1000

// uncounted are the arrivals of calls that wait, until the store has acknowledged them. That wakes nobody, since there is
// nothing to do before the release; so the core is asked now and then, in time for the samples to be gathered.
type uncounted struct {
	mu    sync.Mutex
	calls []*call
	due   *time.Timer
}

func (u *uncounted) add(s *openBarrier, calls ...*call) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls = append(u.calls, calls...)
	if u.due == nil && len(u.calls) > 0 {
		u.due = time.AfterFunc(batchEvery, func() { u.look(s) })
	}
}

// look counts those that are acknowledged, and keeps those that the store has yet to answer to.
func (u *uncounted) look(s *openBarrier) {
	u.mu.Lock()
	calls := u.calls
	u.calls, u.due = nil, nil
	u.mu.Unlock()

	var owed []*call
	tokens := make([]uint64, 0, min(len(calls), askedAtOnce))
	for some := range slices.Chunk(calls, askedAtOnce) {
		some = slices.DeleteFunc(some, func(c *call) bool { return c.counted.Load() })
		tokens = tokens[:0]
		for _, c := range some {
			tokens = append(tokens, c.token)
		}
		for at, arrival := range s.Arrivals(tokens) {
			switch arrival {
			case core.ArrivalAcknowledged:
				some[at].countArrival()
			case core.ArrivalOwed:
				owed = append(owed, some[at])
			case core.ArrivalOver: // its call counts what there is to count
			}
		}
	}
	u.add(s, owed...)
}

// countArrival counts the arrival of a call that waits, now that it is known to stand.
func (c *call) countArrival() {
	if !c.counted.Swap(true) {
		c.pushOutcome(c.arrived, "")
	}
}

// enter takes note of the arrival with which a call begins to wait. Only its virtual user's goroutine does that.
func (c *call) enter(answer core.Answer) {
	c.arrived, c.token = answer, c.stay.Token()
	c.before = c.user.enter(answer.Phase, c.participant)
}

// settle counts what a call that waits has come to, and remembers it: once, by whoever made the call.
func (c *call) settle(answer core.Answer) {
	if c.settled {
		return
	}
	c.settled = true
	if c.token != 0 {
		if answer.Outcome == core.OutcomeArrived {
			if !answer.First {
				c.counted.Store(true) // by the call that was first
			}
			c.countArrival()
			c.inst.accounted()
			return
		}
		c.counted.Store(true) // it is none
		c.user.revoke(c.before)
	}
	if answer.Outcome != core.OutcomeNone {
		c.pushOutcome(answer, answer.Reason)
		c.user.record(answer, c.participant)
		c.inst.accounted()
	}
}
