package barrier

import (
	"errors"

	"github.com/grafana/sobek"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

type (
	// jsValue is a result that becomes a JavaScript value where JavaScript may run.
	jsValue func(rt *sobek.Runtime) sobek.Value

	// task is a call with its arguments read, which may run on any goroutine.
	task struct {
		run func() (jsValue, error)
		err error // what was wrong with the arguments
	}
)

// failedTask is a call that was wrong from the start.
func failedTask(err error) task { return task{err: err} }

// sync runs a task on the virtual user's own goroutine, which may be inside a handler that blocks the event loop.
func (i *instance) sync(t task) sobek.Value {
	if t.err != nil {
		i.throw(t.err)
	}
	result, err := t.run()
	if err != nil {
		if errors.Is(err, core.ErrEnded) {
			i.interrupted()
		}
		i.throw(err)
	}
	return result(i.vu.Runtime())
}

// async runs a task on a goroutine and returns a promise. The promise settles exactly once, also when k6 ends the
// iteration, because the event loop waits for it.
func (i *instance) async(t task) sobek.Value {
	rt := i.vu.Runtime()
	promise, resolve, reject := rt.NewPromise()
	if t.err != nil {
		if err := reject(i.errorValue(t.err)); err != nil {
			panic(err)
		}
		return rt.ToValue(promise)
	}
	settle := i.vu.RegisterCallback()
	go func() {
		result, err := t.run()
		settle(func() error {
			if err != nil {
				return reject(i.errorValue(err))
			}
			return resolve(result(rt))
		})
	}()
	return rt.ToValue(promise)
}
