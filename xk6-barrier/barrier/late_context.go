package barrier

import (
	"context"
	"sync"
	"time"
)

// lateContext ends with its parent or at a time of its own. It costs nothing until somebody waits for it: most calls are
// answered before, and ten thousand of them would set ten thousand timers.
type lateContext struct {
	context.Context //nolint:containedctx // it is one

	at   time.Time
	mu   sync.Mutex
	real context.Context //nolint:containedctx // the same
	stop context.CancelFunc
}

// Deadline implements context.Context.
func (l *lateContext) Deadline() (time.Time, bool) { return l.at, true }

// Done implements context.Context.
func (l *lateContext) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.real == nil {
		l.real, l.stop = context.WithDeadline(l.Context, l.at)
	}
	return l.real.Done()
}

// Err implements context.Context.
func (l *lateContext) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.real != nil {
		return l.real.Err()
	}
	if err := l.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(l.at) {
		return context.DeadlineExceeded
	}
	return nil
}

// rest gives back what Done made, which the next Done makes anew: a virtual user that waits for the others needs no timer
// for the store.
func (l *lateContext) rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop != nil {
		l.stop()
		l.real, l.stop = nil, nil
	}
}
