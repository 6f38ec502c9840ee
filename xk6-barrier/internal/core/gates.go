package core

import (
	"sync"
)

// gates are the places where the waiters of one barrier stand. A release closes one channel, however many they are.
type gates struct {
	mu       sync.Mutex
	released int64 // the newest released phase, -1 before the first
	open     map[uint32]chan struct{}
	broken   chan struct{}
	isBroken bool
}

// passed is the gate of every phase that is released.
var passed = func() chan struct{} { //nolint:gochecknoglobals // a constant that Go has no constant form for
	c := make(chan struct{})
	close(c)
	return c
}()

func newGates() *gates {
	return &gates{released: -1, open: make(map[uint32]chan struct{}), broken: make(chan struct{})}
}

// gate is closed once the phase is released. The first caller of a phase is told so.
func (g *gates) gate(phase uint32) (gate <-chan struct{}, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if int64(phase) <= g.released {
		return passed, false
	}
	c, ok := g.open[phase]
	if !ok {
		c = make(chan struct{})
		g.open[phase] = c
	}
	return c, !ok
}

// release opens the gates of the phase and of all before it.
func (g *gates) release(phase uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if int64(phase) <= g.released {
		return
	}
	g.released = int64(phase)
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
	}
}
