package sse

import (
	"context"

	"go.k6.io/k6/v2/js/modules"
)

// This is the only file that registers callbacks with the event loop.

// isOver reports whether the iteration is over, by an exception or because k6 ended it. The VU does nothing any more then: k6
// still runs callbacks, but no handler of the script runs, no promise settles, and a call that blocks ends JavaScript as k6
// does. k6/x/barrier keeps the same rule.
func (mi *instance) isOver() bool {
	ctx := mi.vu.Context()
	return ctx != nil && ctx.Err() != nil // the init context may have none
}

// loop runs functions on the event loop for one goroutine, one after another. It holds one registered callback as long
// as it lives, so that the iteration does not end meanwhile: finish must be called exactly once.
type loop struct {
	ctx      context.Context //nolint:containedctx // that of the iteration
	register func() func(func() error)
	enqueue  func(func() error)
	done     chan error
}

// newLoop must be called on the VU's goroutine.
func newLoop(vu modules.VU) *loop {
	return &loop{
		ctx:      vu.Context(),
		register: vu.RegisterCallback,
		enqueue:  vu.RegisterCallback(),
		done:     make(chan error, 1),
	}
}

// run has f called on the event loop and waits until it returned; its error goes to the caller, not to the loop. Once
// the iteration is over, f is not called any more: k6 still runs callbacks then, but no handler may follow an
// exception.
//
// While the VU's goroutine blocks, so does run, and with it the reading of the stream.
func (l *loop) run(f func() error) error {
	l.enqueue(func() error {
		err := errNotRun
		defer func() {
			l.enqueue = l.register()
			l.done <- err
		}()
		if err = l.ctx.Err(); err == nil {
			err = errNotRun // what stands if f panics
			err = f()
		}
		return nil
	})
	return <-l.done
}

// finish has f called on the event loop, if the iteration is not over, and lets the iteration end. An error of f ends
// the iteration as an exception would.
func (l *loop) finish(f func() error) {
	l.enqueue(func() error {
		if l.ctx.Err() != nil {
			return nil
		}
		return f()
	})
}
