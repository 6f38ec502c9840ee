package sse

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/grafana/sobek"

	"go.k6.io/k6/v2/lib"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/class"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

const (
	opOpen      = "sse.open()"
	opAsyncOpen = "sse.asyncOpen()"
)

// The events of a client.
const (
	onOpen  = "open"
	onEvent = "event"
	onError = "error"
)

var clientEvents = []string{onOpen, onEvent, onError} //nolint:gochecknoglobals // constant

// session is one call of open or asyncOpen. Everything in it belongs to the VU's goroutine, except that run may be
// called on another one, which hands over to the VU's goroutine by do.
type session struct {
	mi       *instance
	rt       *sobek.Runtime
	ctx      context.Context //nolint:containedctx // that of the iteration
	state    *lib.State
	req      *request
	stream   *stream
	setup    sobek.Callable
	handlers map[string][]sobek.Callable
	client   *sobek.Object
	closed   atomic.Bool

	// do calls a function on the VU's goroutine and returns its error.
	do func(func() error) error
	// batch lets one turn on the VU's goroutine deliver all events that are in memory.
	batch bool
}

// open is sse.open(url, [params], setup): it blocks the VU until the stream has ended.
func (mi *instance) open(args ...sobek.Value) *sobek.Object {
	if mi.isOver() {
		script.Interrupt()
	}
	s, urlErr, err := mi.newSession(opOpen, args)
	if err != nil {
		mi.throw(err)
	}
	s.do = func(f func() error) error {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		return f()
	}
	failure, err := s.run(urlErr)
	if isException(err) {
		mi.throw(err)
	}
	if s.ctx.Err() != nil {
		// k6 interrupts the script now. Without this the script could run on for a moment and take the stream for one that
		// ended by itself.
		script.Interrupt()
	}
	if failure != nil && s.req.throw {
		mi.throw(failure)
	}
	return s.result(failure)
}

// asyncOpen is sse.asyncOpen(url, [params], setup): the same with a promise, on the event loop.
func (mi *instance) asyncOpen(args ...sobek.Value) *sobek.Promise {
	rt := mi.vu.Runtime()
	promise, resolve, reject := rt.NewPromise()
	if mi.isOver() {
		return promise
	}
	s, urlErr, err := mi.newSession(opAsyncOpen, args)
	if err != nil {
		must(rt, reject(mi.errorOf(err)))
		return promise
	}
	events := newLoop(mi.vu)
	s.do, s.batch = events.run, true
	go func() {
		failure, err := s.run(urlErr)
		events.finish(func() error {
			var exception *sobek.Exception
			switch {
			case errors.As(err, &exception):
				return reject(exception.Value())
			case err != nil:
				return err
			case failure != nil && s.req.throw:
				return reject(mi.errorValue(failure))
			default:
				return resolve(s.result(failure))
			}
		})
	}()
	return promise
}

// newSession reads the arguments. A URL that cannot be used is reported in the second result, because it fails like a
// connection does.
func (mi *instance) newSession(op string, args []sobek.Value) (*session, *streamError, error) {
	rt := mi.vu.Runtime()
	state, err := mi.vuState(op)
	if err != nil {
		return nil, nil, err
	}
	var url, params, setupValue sobek.Value
	switch len(args) {
	case 2:
		url, setupValue = args[0], args[1]
	case 3:
		url, params, setupValue = args[0], args[1], args[2]
	default:
		return nil, nil, newOptionError(op, &wrongOption{"arguments", strconv.Itoa(len(args)), "a URL, optional params, and a function"})
	}
	setup, ok := sobek.AssertFunction(setupValue)
	if !ok {
		return nil, nil, newOptionError(op, wrong("setup", setupValue, "a function as the last argument"))
	}
	req, urlErr, err := mi.newRequest(op, state, openOptions, url, params)
	if err != nil {
		return nil, nil, err
	}
	s := &session{
		mi: mi, rt: rt, ctx: mi.vu.Context(), state: state, req: req, setup: setup,
		handlers: make(map[string][]sobek.Callable, len(clientEvents)),
	}
	s.stream = newStream(s.ctx, s.ctx, state, mi.metrics, req)
	mi.firstSamples(s.stream)
	s.client = s.newClient()
	return s, urlErr, nil
}

// run takes the stream from connecting to its end. It returns what went wrong with the stream, which handlers have been
// told, or else the error that came out of a handler. By then the connection is closed and its samples are recorded.
func (s *session) run(urlErr *streamError) (*streamError, error) {
	connected, failure := false, urlErr
	if urlErr == nil {
		connected, failure = s.stream.connect("")
	}

	// Earlier modules ran the setup function after connecting, and scripts may rely on that order.
	err := s.do(func() error {
		if _, err := s.setup(sobek.Undefined(), s.client); err != nil || !connected {
			return err
		}
		return s.fire(onOpen)
	})

	var readErr error
	switch {
	case failure != nil:
		readErr = failure
	case err != nil || !connected || s.closed.Load():
	case s.stream.accept:
		readErr, err = s.read()
	default:
		s.stream.drain()
	}

	failure = s.stream.finish(readErr)
	if failure != nil && err == nil {
		err = s.do(func() error { return s.tell(failure) })
	}
	return failure, err
}

// read delivers events until the stream is over. The first error ended the stream, the second came out of a handler.
func (s *session) read() (readErr, handlerErr error) {
	var ev event
	for !s.closed.Load() && readErr == nil && handlerErr == nil {
		if readErr = s.stream.next(&ev); readErr != nil {
			break
		}
		handlerErr = s.do(func() error {
			for more := true; more && !s.closed.Load() && readErr == nil; {
				s.stream.count(&ev)
				if err := s.fire(onEvent, s.mi.eventObject(&ev)); err != nil {
					return err
				}
				if more = s.batch && !s.closed.Load(); more {
					more, readErr = s.stream.buffered(&ev)
				}
			}
			return nil
		})
	}
	return readErr, handlerErr
}

// fire calls the handlers of one event in the order they were registered in.
func (s *session) fire(name string, args ...sobek.Value) error {
	for _, handler := range slices.Clip(s.handlers[name]) {
		if _, err := handler(sobek.Undefined(), args...); err != nil {
			return err
		}
	}
	return nil
}

// tell lets the script know of a failure: by its error handlers, by an exception, or else in the log.
func (s *session) tell(failure *streamError) error {
	if len(s.handlers[onError]) == 0 {
		if !s.req.throw {
			s.state.Logger.WithField("error", failure).Warn("Event stream failed")
		}
		return nil
	}
	return s.fire(onError, s.mi.errorValue(failure))
}

// newClient makes the object that the setup function receives.
func (s *session) newClient() *sobek.Object {
	return class.Instance(s.rt, func(name string) class.Field {
		switch name {
		case "on":
			return class.Field{Make: func() any { return class.Function(s.rt, name, s.on) }}
		case "close":
			return class.Field{Make: func() any { return class.Function(s.rt, name, s.close) }}
		case "url":
			return class.Field{Get: func() any { return s.stream.url() }}
		case "status":
			return class.Field{Get: func() any { return s.stream.status() }}
		case "headers":
			return class.Field{Get: func() any { return plainHeaders(s.rt, s.stream.headers()) }}
		}
		return class.Field{}
	})
}

// on is client.on(name, handler).
func (s *session) on(call sobek.FunctionCall) sobek.Value {
	name, value := call.Argument(0).String(), call.Argument(1)
	handler, ok := sobek.AssertFunction(value)
	if !ok {
		s.mi.throw(newOptionError("client.on()", wrong("handler", value, "a function")))
	}
	if !slices.Contains(clientEvents, name) {
		s.mi.root.warnOnce(s.state.Logger, "on"+name,
			"client.on(): there is no event %q, so its handler is never called; there are open, event and error", name)
	}
	s.handlers[name] = append(s.handlers[name], handler)
	return sobek.Undefined()
}

// close is client.close(): the connection is closed when it returns.
func (s *session) close(sobek.FunctionCall) sobek.Value {
	s.closed.Store(true)
	s.stream.close()
	return sobek.Undefined()
}

func (mi *instance) eventObject(ev *event) *sobek.Object {
	return script.NewData(mi.vu.Runtime()).Put("id", ev.id).Put("comment", ev.comment).Put("name", ev.name).Put("data", ev.data).Object
}

// result is what the call returns once the stream has ended.
func (s *session) result(failure *streamError) *sobek.Object {
	message := ""
	if failure != nil {
		message = failure.Error()
	}
	return script.NewData(s.rt).Put("url", s.stream.url()).Put("status", s.stream.status()).
		Put("headers", plainHeaders(s.rt, s.stream.headers())).Put("error", message).Put("body", s.stream.said).Object
}

// isException reports whether err came out of JavaScript.
func isException(err error) bool {
	var (
		exception   *sobek.Exception
		interrupted *sobek.InterruptedError
		overflow    *sobek.StackOverflowError
	)
	return errors.As(err, &exception) || errors.As(err, &interrupted) || errors.As(err, &overflow)
}
