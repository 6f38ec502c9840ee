package core

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// doublings is how often the groups grow. The first group is one waiter, and each next one twice the size.
	doublings = 8
	// breath is the pause after each group of a release that processes on one host share, for as long as politeness lasts.
	breath     = 500 * time.Microsecond
	politeness = 5 * time.Millisecond
)

// gates are the places where the waiters of one barrier stand, each at one channel together with others. A release closes
// these channels. So does whatever else ends all waits: a waiter looks around when its channel closes.
type gates struct {
	mu       sync.Mutex
	released atomic.Int64 // the newest released phase, -1 before the first; written under mu
	open     map[uint32]*waiters
	broken   chan struct{}
	isBroken bool
	ended    bool // nobody has to wait at any gate any more
	ending   chan struct{}
	gone     chan struct{}
}

// waiters are those of one phase, in the order in which they came.
type waiters struct {
	groups []chan struct{}
	room   int // for so many more in the newest group
}

func (w *waiters) join() chan struct{} {
	if w.room == 0 {
		w.room = 1 << min(len(w.groups), doublings)
		w.groups = append(w.groups, make(chan struct{}))
	}
	w.room--
	return w.groups[len(w.groups)-1]
}

// passed is the gate of every phase that is released.
var passed = func() chan struct{} { //nolint:gochecknoglobals // a constant that Go has no constant form for
	c := make(chan struct{})
	close(c)
	return c
}()

func newGates() *gates {
	g := &gates{
		open: make(map[uint32]*waiters), broken: make(chan struct{}), ending: make(chan struct{}), gone: make(chan struct{}),
	}
	g.released.Store(-1)
	return g
}

// gate is closed once the phase is released or nothing can release it any more.
func (g *gates) gate(phase uint32) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || g.isReleased(phase) {
		return passed
	}
	w, known := g.open[phase]
	if !known {
		w = new(waiters)
		g.open[phase] = w
	}
	return w.join()
}

// isReleased reports whether a release opened the gate of the phase.
func (g *gates) isReleased(phase uint32) bool { return int64(phase) <= g.released.Load() }

// release opens the gates of the phase and of all before it. Where other processes on this host do the same at this instant,
// each lets its first waiters go before any of them fills the processors with all of its own.
func (g *gates) release(phase uint32, shared bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isReleased(phase) {
		return
	}
	g.released.Store(int64(phase))
	var groups []chan struct{}
	for p, w := range g.open {
		if p <= phase {
			groups = append(groups, w.groups...)
			delete(g.open, p)
		}
	}
	if shared && len(groups) > 1 {
		close(groups[0])
		go openPolitely(groups[1:])
		return
	}
	for _, group := range groups {
		close(group)
	}
}

func openPolitely(groups []chan struct{}) {
	started := time.Now()
	for _, group := range groups {
		if time.Since(started) < politeness {
			time.Sleep(breath)
		}
		close(group)
	}
}

// breakAll wakes everyone, for good.
func (g *gates) breakAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isBroken {
		g.isBroken = true
		close(g.broken)
		g.endAll()
	}
}

// lose wakes everyone, because the core is gone.
func (g *gates) lose() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endAll()
}

// forget wakes everyone, because the barrier is gone. It is called once.
func (g *gates) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.gone)
	g.endAll()
}

func (g *gates) endAll() {
	if !g.ended {
		close(g.ending)
	}
	g.ended = true
	for _, w := range g.open {
		for _, group := range w.groups {
			close(group)
		}
	}
	clear(g.open)
}
