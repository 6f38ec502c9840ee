package barrier

import (
	"context"
	"errors"
	"time"

	"github.com/grafana/sobek"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

type (
	// jsValue is a result that becomes a JavaScript value where JavaScript may run.
	jsValue func(rt *sobek.Runtime) sobek.Value

	// task is a call with its arguments read, which may run on any goroutine. On the virtual user's own it is given the
	// runtime, where it may make values ahead of its end.
	task struct {
		run func(here *sobek.Runtime) (jsValue, error)
		err error // what was wrong with the arguments
	}
)

// Once its iteration is over, by an exception or because k6 ended it, a virtual user does nothing any more: k6 still runs
// callbacks then, but no call records anything, a call that blocks ends JavaScript as k6 does, and no promise settles, so that
// no handler of the script runs. k6/x/sse keeps the same rule.

// failedTask is a call that was wrong from the start.
func failedTask(err error) task { return task{err: err} }

// sync runs a task on the virtual user's own goroutine, which may be inside a handler that blocks the event loop.
func (i *instance) sync(t task) sobek.Value {
	ctx, rt := i.vu.Context(), i.vu.Runtime()
	if t.err != nil && !isOver(ctx) {
		i.throw(t.err)
	}
	result, err := t.result(ctx, rt)
	if errors.Is(err, core.ErrEnded) {
		i.interrupted(ctx)
	}
	if err != nil {
		i.throw(err)
	}
	return result(rt)
}

// async runs a task on a goroutine and returns a promise. k6 waits for it before it goes on to the next iteration.
func (i *instance) async(t task) sobek.Value {
	rt, ctx := i.vu.Runtime(), i.vu.Context()
	promise, resolve, reject := rt.NewPromise()
	if t.err != nil {
		if !isOver(ctx) {
			if err := reject(i.errorValue(t.err)); err != nil {
				panic(err)
			}
		}
		return rt.ToValue(promise)
	}
	settle := i.vu.RegisterCallback()
	go func() {
		result, err := t.result(ctx, nil)
		if errors.Is(err, core.ErrEnded) {
			select {
			case <-i.interrupted(ctx):
			case <-time.After(endingsDeadline):
			}
		}
		settle(func() error {
			switch {
			case isOver(ctx):
				return nil
			case err != nil:
				return reject(i.errorValue(err))
			default:
				return resolve(result(rt))
			}
		})
	}()
	return rt.ToValue(promise)
}

// result runs the task unless the iteration is over.
func (t task) result(ctx context.Context, here *sobek.Runtime) (jsValue, error) {
	if isOver(ctx) {
		return nil, core.ErrEnded
	}
	return t.run(here)
}

// isOver reports whether the iteration is over that the context is of. The init context may have none.
func isOver(ctx context.Context) bool { return ctx != nil && ctx.Err() != nil }
