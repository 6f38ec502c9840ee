package core

import (
	"container/heap"
	"sync"
	"time"
)

// turns hold completions back until their instants come: those of users whom a release lets go one after the other. However
// many wait, there is one timer.
type turns struct {
	deliver func(Frame)

	mu     sync.Mutex
	queue  turnQueue
	timer  *time.Timer // nil before the first turn
	next   time.Time   // when it fires; zero where it does not
	isOver bool
}

// turn is a completion with its instant on the monotonic clock: nobody is held by a wall clock that is set meanwhile.
type turn struct {
	at    time.Time
	frame Frame
}

func newTurns(deliver func(Frame)) *turns { return &turns{deliver: deliver} }

// until is how long an instant of the wall clock, in microseconds since the epoch, lies ahead.
func until(micros uint64) time.Duration {
	return time.Until(time.UnixMicro(int64(micros))) // #nosec G115 -- an instant that the core made
}

// add hands the frame on when its instant has come.
func (t *turns) add(frame Frame) {
	ahead := until(frame.TimeMicros)
	if ahead <= 0 {
		t.deliver(frame)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isOver {
		return
	}
	heap.Push(&t.queue, turn{time.Now().Add(ahead), frame})
	t.set()
}

// set has the timer fire at the first turn.
func (t *turns) set() {
	first := t.queue[0].at
	switch {
	case t.timer == nil:
		t.timer = time.AfterFunc(time.Until(first), t.take)
	case t.next.IsZero() || first.Before(t.next):
		t.timer.Reset(time.Until(first))
	default:
		return // it fires in time
	}
	t.next = first
}

// take hands on all whose instants have come. The timer runs it on a goroutine of its own.
func (t *turns) take() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for len(t.queue) > 0 && !t.queue[0].at.After(now) {
		next := heap.Pop(&t.queue).(turn) //nolint:forcetypeassert // the queue holds nothing else
		t.deliver(next.frame)
	}
	t.next = time.Time{}
	if len(t.queue) > 0 {
		t.set()
	}
}

// end forgets all turns: who waits for one hears that the core is lost.
func (t *turns) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.isOver = true
	t.queue = nil
	if t.timer != nil {
		t.timer.Stop()
	}
}

// turnQueue is a heap, the earliest turn first.
type turnQueue []turn

func (q turnQueue) Len() int           { return len(q) }
func (q turnQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q turnQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *turnQueue) Push(x any)        { *q = append(*q, x.(turn)) } //nolint:forcetypeassert // add alone calls it
func (q *turnQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}
