package core

import (
	"sync"
	"sync/atomic"
)

// gates are the places where the waiters of one barrier stand. A release closes one channel, however many they are. So
// does whatever else ends all waits: a waiter stands at one gate only, and looks around when it opens.
type gates struct {
	mu       sync.Mutex
	released atomic.Int64 // the newest released phase, -1 before the first; written under mu
	open     map[uint32]chan struct{}
	broken   chan struct{}
	isBroken bool
	ended    bool // nobody has to wait at any gate any more
}

// passed is the gate of every phase that is released.
var passed = func() chan struct{} { //nolint:gochecknoglobals // a constant that Go has no constant form for
	c := make(chan struct{})
	close(c)
	return c
}()

func newGates() *gates {
	g := &gates{open: make(map[uint32]chan struct{}), broken: make(chan struct{})}
	g.released.Store(-1)
	return g
}

// gate is closed once the phase is released or nothing can release it any more. The first caller of a phase is told so.
func (g *gates) gate(phase uint32) (gate <-chan struct{}, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || g.isReleased(phase) {
		return passed, false
	}
	c, ok := g.open[phase]
	if !ok {
		c = make(chan struct{})
		g.open[phase] = c
	}
	return c, !ok
}

// isReleased reports whether a release opened the gate of the phase.
func (g *gates) isReleased(phase uint32) bool { return int64(phase) <= g.released.Load() }

// release opens the gates of the phase and of all before it.
func (g *gates) release(phase uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isReleased(phase) {
		return
	}
	g.released.Store(int64(phase))
	for p, c := range g.open {
		if p <= phase {
			close(c)
			delete(g.open, p)
		}
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

func (g *gates) endAll() {
	g.ended = true
	for _, c := range g.open {
		close(c)
	}
	clear(g.open)
}
