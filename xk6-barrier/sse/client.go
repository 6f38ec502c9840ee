package sse

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/grafana/sobek"

	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/lib"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/class"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

const (
	opOpenAsync = "sse.openAsync()"
	opWait      = "client.waitForEvent()"
	opWaitAsync = "client.waitForEventAsync()"
)

// heldEvents is how many events a client holds for a script that has not asked for them. Then the server has to wait.
const heldEvents = 100

// pollClient is what sse.openAsync() returns: a stream that is read in the background, for a script that asks for its events.
// The iteration does not wait for it, and its end closes the stream.
type pollClient struct {
	mi    *instance
	ctx   context.Context //nolint:containedctx // that of the iteration
	state *lib.State
	req   *request
	scope context.Context //nolint:containedctx // ends when the client does
	end   context.CancelCauseFunc

	events chan event
	done   chan struct{} // closed when nothing more is received

	mu      sync.Mutex
	current *stream
	status  int
	open    bool
	failure *streamError

	closed bool // by the script, whose goroutine alone uses it
}

// openAsync is sse.openAsync(url, [params]): it returns at once.
func (mi *instance) openAsync(call sobek.FunctionCall) sobek.Value {
	if mi.isOver() {
		script.Interrupt()
	}
	state, err := mi.vuState(opOpenAsync)
	if err != nil {
		mi.throw(err)
	}
	req, urlErr, err := mi.newRequest(opOpenAsync, state, openAsyncOptions, call.Argument(0), call.Argument(1))
	if err != nil {
		mi.throw(err)
	}
	c := &pollClient{
		mi: mi, ctx: mi.vu.Context(), state: state, req: req, failure: urlErr,
		events: make(chan event, heldEvents), done: make(chan struct{}),
	}
	c.scope, c.end = context.WithCancelCause(c.ctx)
	first := c.newStream()
	mi.firstSamples(first)
	if urlErr != nil {
		close(c.done)
	} else {
		go c.run(first)
	}
	return class.Instance(mi.vu.Runtime(), c.member)
}

// member is what a script sees of the client.
func (c *pollClient) member(name string) class.Field {
	method := map[string]any{
		"pollEvents": c.poll, "waitForEvent": c.wait, "waitForEventAsync": c.waitAsync,
		"isOpen": c.isOpen, "getStatus": c.getStatus, "getError": c.getError, "close": c.close,
	}[name]
	if method == nil {
		return class.Field{}
	}
	return class.Field{Make: func() any { return class.Function(c.mi.vu.Runtime(), name, method) }}
}

func (c *pollClient) newStream() *stream {
	s := newStream(c.ctx, c.scope, c.state, c.mi.metrics, c.req)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = s
	return s
}

// run connects, again where that failed and may be repeated, and reads until the stream is over.
func (c *pollClient) run(current *stream) {
	defer close(c.done)
	for attempt := 0; ; attempt++ {
		opened, failure := current.pass("", func() error {
			c.note(current, true, nil)
			return c.read(current)
		})
		c.note(current, false, failure)
		if opened || failure == nil || attempt >= c.req.maxRetries || !c.pause(attempt) {
			return
		}
		current = c.newStream()
	}
}

// note keeps what a script may ask for.
func (c *pollClient) note(current *stream, open bool, failure *streamError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.open, c.failure = current.status(), open, failure
}

func (c *pollClient) read(current *stream) error {
	var ev event
	for {
		if err := current.next(&ev); err != nil {
			return err
		}
		if ev.name == "" && ev.data == "" {
			continue // a heartbeat is nothing to wait for
		}
		current.count(&ev)
		select {
		case c.events <- ev:
		case <-c.scope.Done():
			return c.scope.Err()
		}
	}
}

// pause waits before another attempt, each time twice as long and up to a fifth longer, so that the users of a test do not
// come back all at once. It reports false if the client ended meanwhile.
func (c *pollClient) pause(attempt int) bool {
	delay := min(c.req.baseDelay<<min(attempt, 20), c.req.maxDelay)
	if delay > 0 {
		delay += rand.N(delay/5 + 1) // #nosec G404 -- nothing secret
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.scope.Done():
		return false
	}
}

// poll is client.pollEvents(): what has been received since the last call.
func (c *pollClient) poll(sobek.FunctionCall) sobek.Value {
	rt := c.mi.vu.Runtime()
	list := []any{}
	// Only what is there now: a stream that sends faster than this takes would keep the call for ever.
	for range len(c.events) {
		if c.closed {
			break
		}
		ev := <-c.events
		list = append(list, c.mi.eventObject(&ev))
	}
	return rt.NewArray(list...)
}

// awaiting is one wait for an event.
type awaiting struct {
	op        string
	predicate sobek.Callable // nil for any event
	limit     time.Duration
	timer     <-chan time.Time // nil without a limit
}

func (c *pollClient) readWait(op string, call sobek.FunctionCall) (*awaiting, *streamError) {
	w := &awaiting{op: op}
	if v := call.Argument(0); !common.IsNullish(v) {
		predicate, ok := sobek.AssertFunction(v)
		if !ok {
			return nil, newOptionError(op, wrong("predicate", v, "a function that is given an event, or nothing"))
		}
		w.predicate = predicate
	}
	if v := call.Argument(1); !common.IsNullish(v) {
		d, ok := script.Duration(v)
		if !ok || d < 0 {
			return nil, newOptionError(op, wrong("timeout", v, allowedDuration))
		}
		w.limit = d
	}
	if c.closed {
		return nil, newClosedError(op, "the client is closed")
	}
	return w, nil
}

func (w *awaiting) start() (stop func()) {
	if w.limit == 0 {
		return func() {}
	}
	timer := time.NewTimer(w.limit)
	w.timer = timer.C
	return func() { timer.Stop() }
}

// next waits for any event. What was received before the end comes before the end.
func (c *pollClient) next(w *awaiting) (event, error) {
	// First, or other events that keep coming would hold up the time-out.
	select {
	case <-w.timer:
		return event{}, newTimeoutError(w.op, nameTimeoutError, "timeout", w.limit, "no such event was received")
	case <-c.ctx.Done():
		return event{}, c.ctx.Err()
	default:
	}
	select {
	case ev := <-c.events:
		return ev, nil
	default:
	}
	select {
	case ev := <-c.events:
		return ev, nil
	case <-w.timer:
		return event{}, newTimeoutError(w.op, nameTimeoutError, "timeout", w.limit, "no such event was received")
	case <-c.ctx.Done():
		return event{}, c.ctx.Err()
	case <-c.done:
	}
	select {
	case ev := <-c.events:
		return ev, nil
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure != nil {
		return event{}, c.failure
	}
	return event{}, newClosedError(w.op, "the stream has ended")
}

// matches asks the script whether it waits for this event.
func (c *pollClient) matches(w *awaiting, object *sobek.Object) (bool, error) {
	if w.predicate == nil {
		return true, nil
	}
	answer, err := w.predicate(sobek.Undefined(), object)
	return err == nil && answer.ToBoolean(), err
}

// wait is client.waitForEvent([predicate], [timeout]): it blocks the VU. Events that do not match are dropped.
func (c *pollClient) wait(call sobek.FunctionCall) sobek.Value {
	if c.mi.isOver() {
		script.Interrupt()
	}
	w, failure := c.readWait(opWait, call)
	if failure != nil {
		c.mi.throw(failure)
	}
	defer w.start()()
	for {
		ev, err := c.next(w)
		if c.ctx.Err() != nil {
			script.Interrupt()
		}
		if err != nil {
			c.mi.throw(err)
		}
		object := c.mi.eventObject(&ev)
		matches, err := c.matches(w, object)
		if err != nil {
			c.mi.throw(err)
		}
		if matches {
			return object
		}
	}
}

// waitAsync is client.waitForEventAsync([predicate], [timeout]): the same with a promise.
func (c *pollClient) waitAsync(call sobek.FunctionCall) sobek.Value {
	rt := c.mi.vu.Runtime()
	promise, resolve, reject := rt.NewPromise()
	if c.mi.isOver() {
		return rt.ToValue(promise)
	}
	w, failure := c.readWait(opWaitAsync, call)
	if failure != nil {
		must(rt, reject(c.mi.errorValue(failure)))
		return rt.ToValue(promise)
	}
	events := newLoop(c.mi.vu)
	go func() {
		defer w.start()()
		var found *sobek.Object
		var err error
		for found == nil && err == nil {
			var ev event
			if ev, err = c.next(w); err != nil {
				break
			}
			err = events.run(func() error {
				object := c.mi.eventObject(&ev)
				matches, err := c.matches(w, object)
				if matches {
					found = object
				}
				return err
			})
		}
		events.finish(func() error {
			var exception *sobek.Exception
			switch {
			case found != nil:
				return resolve(found)
			case errors.As(err, &exception):
				return reject(exception.Value())
			case isException(err):
				return err
			default:
				return reject(c.mi.errorOf(err))
			}
		})
	}()
	return rt.ToValue(promise)
}

func (c *pollClient) isOpen(sobek.FunctionCall) sobek.Value {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mi.vu.Runtime().ToValue(c.open)
}

// getStatus is 0 before there is a response.
func (c *pollClient) getStatus(sobek.FunctionCall) sobek.Value {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mi.vu.Runtime().ToValue(c.status)
}

// getError is what the stream failed with, or null.
func (c *pollClient) getError(sobek.FunctionCall) sobek.Value {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		return sobek.Null()
	}
	return c.mi.errorValue(c.failure)
}

// close is client.close(): the connection is closed when it returns.
func (c *pollClient) close(sobek.FunctionCall) sobek.Value {
	c.closed = true
	c.end(errClosed)
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	current.close()
	select {
	case <-c.done:
	case <-c.ctx.Done():
	}
	return sobek.Undefined()
}
