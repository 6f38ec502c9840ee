package sse

import (
	"context"
	"errors"
	"time"

	"github.com/grafana/sobek"

	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/lib"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/class"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

const opEventSource = "EventSource"

// The states of an EventSource, as the standard numbers them.
const (
	stateConnecting = 0
	stateOpen       = 1
	stateClosed     = 2
)

// eventSource is one object of the class EventSource. Its JavaScript side, which is all but the fields of the last
// group, belongs to the VU's goroutine; run belongs to a goroutine of its own.
type eventSource struct {
	class.Hidden
	target
	ctx             context.Context //nolint:containedctx // that of the iteration
	state           *lib.State
	req             *request
	end             context.CancelCauseFunc // ends the source for good
	status          int                     // readyState
	lastID          string                  // of the events delivered
	withCredentials bool

	events     *loop
	metrics    *streamMetrics
	scope      context.Context //nolint:containedctx // ends when the source does
	reconnect  time.Duration
	resumeFrom string // the last event ID to send
	openOrigin string
}

// eventSourceClass makes the class for this VU.
func (mi *instance) eventSourceClass() *sobek.Object {
	c := class.Class[*eventSource]{
		Name: "EventSource", Length: 1, New: mi.newEventSource,
		Constants: map[string]int{"CONNECTING": stateConnecting, "OPEN": stateOpen, "CLOSED": stateClosed},
		Methods: []class.Method[*eventSource]{
			{Name: "addEventListener", Call: (*eventSource).addEventListener},
			{Name: "removeEventListener", Call: (*eventSource).removeEventListener},
			{Name: "close", Call: (*eventSource).close},
		},
		Accessors: []class.Accessor[*eventSource]{
			{Name: "url", Get: func(s *eventSource) any { return s.req.url.URL }},
			{Name: "withCredentials", Get: func(s *eventSource) any { return s.withCredentials }},
			{Name: "readyState", Get: func(s *eventSource) any { return s.status }},
			{Name: "lastEventId", Get: func(s *eventSource) any { return s.lastID }},
		},
	}
	for _, name := range []string{onOpen, onMessage, onError} {
		c.Accessors = append(c.Accessors, class.Accessor[*eventSource]{
			Name: "on" + name,
			Get:  func(s *eventSource) any { return s.handler(name) },
			Set:  func(s *eventSource, value sobek.Value) { s.setHandler(name, value) },
		})
	}
	constructor, err := c.Constructor(mi.vu.Runtime())
	must(mi.vu.Runtime(), err)
	return constructor
}

// newEventSource is new EventSource(url, [params]). Like the standard's, it throws for a URL that cannot be used.
func (mi *instance) newEventSource(call sobek.ConstructorCall) *eventSource {
	if mi.isOver() {
		script.Interrupt()
	}
	state, err := mi.vuState(opEventSource)
	if err != nil {
		mi.throw(err)
	}
	req, urlErr, err := mi.newRequest(opEventSource, state, eventSourceOptions, call.Argument(0), call.Argument(1))
	switch {
	case err != nil:
		mi.throw(err)
	case urlErr != nil:
		mi.throw(urlErr)
	}
	if req.headers.Get("Cache-Control") == "" {
		req.headers.Set("Cache-Control", "no-cache")
	}
	s := &eventSource{
		target:    newTarget(mi, call.This),
		ctx:       mi.vu.Context(),
		state:     state,
		req:       req,
		metrics:   mi.metrics,
		reconnect: req.reconnectDelay,
	}
	s.scope, s.end = context.WithCancelCause(s.ctx)
	if params := call.Argument(1); !common.IsNullish(params) {
		if v := params.ToObject(s.rt).Get("withCredentials"); v != nil {
			s.withCredentials = v.ToBoolean()
		}
	}

	lifetime := req.timeout
	req.timeout = 0 // of the source, not of each of its streams
	first := s.newStream()
	mi.firstSamples(first)
	s.events = newLoop(mi.vu)
	go s.run(first, lifetime)
	return s
}

// close closes the source for good.
func (s *eventSource) close(sobek.FunctionCall) sobek.Value {
	s.status = stateClosed
	s.end(errClosed)
	return sobek.Undefined()
}

func (s *eventSource) newStream() *stream {
	return newStream(s.ctx, s.scope, s.state, s.metrics, s.req)
}

// run connects and reads again and again until the source is closed, fails for good, or the iteration ends.
func (s *eventSource) run(first *stream, lifetime time.Duration) {
	if lifetime > 0 {
		timer := time.AfterFunc(lifetime, func() {
			s.end(newTimeoutError(opEventSource, nameTimeoutError, "timeout", lifetime, "the source was not closed"))
		})
		defer timer.Stop()
	}
	var err error
	for current := first; ; current = s.newStream() {
		var failure *streamError
		var again bool
		failure, again, err = s.serve(current)
		if err == nil {
			err = s.report(failure, again)
		}
		if err != nil || !again {
			break
		}
		if !s.pause() {
			err = s.report(nil, false)
			break
		}
		current.push(s.metrics.reconnects, time.Now(), 1)
	}
	s.end(nil)
	s.events.finish(func() error {
		s.status = stateClosed
		if isException(err) {
			return err
		}
		return nil
	})
}

// serve takes one connection from its beginning to its end, and reports whether another one should follow. The error
// is one that came out of a handler.
func (s *eventSource) serve(current *stream) (failure *streamError, again bool, err error) {
	_, failure = current.pass(s.resumeFrom, func() (readErr error) {
		readErr, err = s.read(current)
		s.resumeFrom = current.parser.lastEventID()
		if d, ok := current.parser.reconnectionTime(); ok {
			s.reconnect = d
		}
		return readErr
	})
	if s.scope.Err() != nil {
		return failure, false, err
	}
	return failure, failure.transient(), err
}

// transient reports whether connecting again may help. A stream that just ended is one that may go on.
func (e *streamError) transient() bool {
	if e == nil {
		return true
	}
	switch e.name {
	case nameStatusError, nameContentTypeError, nameDecodingError, nameEventTooLargeError, nameTimeoutError:
		return false
	default:
		return true
	}
}

// read delivers events until the stream is over. The first error ended the stream, the second came out of a handler.
func (s *eventSource) read(current *stream) (readErr, handlerErr error) {
	current.parser.resumeFrom(s.resumeFrom)
	handlerErr = s.events.run(func() error {
		if s.status == stateClosed {
			return nil
		}
		s.status = stateOpen
		s.openOrigin = current.origin()
		return s.dispatch(onOpen, s.newEvent(onOpen))
	})
	var ev event
	for readErr == nil && handlerErr == nil {
		if readErr = current.next(&ev); readErr != nil {
			break
		}
		handlerErr = s.events.run(func() error {
			for more := true; more && s.status != stateClosed && readErr == nil; {
				if err := s.deliver(current, &ev); err != nil {
					return err
				}
				more, readErr = current.buffered(&ev)
			}
			return nil
		})
	}
	return readErr, handlerErr
}

// deliver dispatches one event. Browsers do not see comments, and so neither do the handlers of an EventSource.
func (s *eventSource) deliver(current *stream, ev *event) error {
	if !ev.hasData {
		return nil
	}
	current.count(ev)
	s.lastID = ev.id
	name := ev.name
	if name == "" {
		name = onMessage
	}
	obj := s.newEvent(name)
	must(s.rt, obj.Set("data", ev.data))
	must(s.rt, obj.Set("lastEventId", ev.id))
	must(s.rt, obj.Set("origin", s.openOrigin))
	return s.dispatch(name, obj)
}

// report tells handlers that the connection is gone, for a while or for good.
func (s *eventSource) report(failure *streamError, again bool) error {
	return s.events.run(func() error {
		if errors.Is(context.Cause(s.scope), errClosed) || s.status == stateClosed {
			return nil
		}
		if s.status = stateClosed; again {
			s.status = stateConnecting
		}
		if failure == nil {
			errors.As(context.Cause(s.scope), &failure) // its lifetime may have ended between two connections
		}
		if failure != nil && !s.listens(onError) {
			s.state.Logger.WithField("error", failure).Warn("Event stream failed")
		}
		obj := s.newEvent(onError)
		if failure != nil {
			must(s.rt, obj.Set("error", s.mi.errorValue(failure)))
			must(s.rt, obj.Set("message", failure.Error()))
		}
		return s.dispatch(onError, obj)
	})
}

// pause waits for the reconnection time. It reports false if the source ended meanwhile.
func (s *eventSource) pause() bool {
	timer := time.NewTimer(s.reconnect)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.scope.Done():
		return false
	}
}
