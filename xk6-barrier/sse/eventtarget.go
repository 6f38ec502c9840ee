package sse

import (
	"slices"
	"time"

	"github.com/grafana/sobek"

	"go.k6.io/k6/v2/js/common"
)

const onMessage = "message"

// target is the part of the DOM's EventTarget that an EventSource needs. It belongs to the VU's goroutine.
type target struct {
	mi        *instance
	rt        *sobek.Runtime
	object    *sobek.Object
	listeners map[string][]*listener
}

type listener struct {
	value   sobek.Value // as it was given, to find it again
	call    sobek.Callable
	once    bool
	isOn    bool // it is the handler of the property on…
	removed bool
}

func newTarget(mi *instance, object *sobek.Object) target {
	return target{mi: mi, rt: mi.vu.Runtime(), object: object, listeners: make(map[string][]*listener)}
}

// on is the listener of the property on…
func (t *target) on(name string) *listener {
	for _, l := range t.listeners[name] {
		if l.isOn {
			return l
		}
	}
	return nil
}

// handler is what the property on… holds: a function or null.
func (t *target) handler(name string) sobek.Value {
	if l := t.on(name); l != nil {
		return l.value
	}
	return sobek.Null()
}

func (t *target) setHandler(name string, value sobek.Value) {
	f, ok := sobek.AssertFunction(value)
	l := t.on(name)
	switch {
	case !ok && !common.IsNullish(value):
		t.mi.throw(newOptionError(opEventSource, wrong("on"+name, value, "a function or null")))
	case !ok && l != nil:
		t.remove(name, l)
	case ok && l != nil:
		l.value, l.call = value, f // it keeps its place in the order
	case ok:
		t.listeners[name] = append(t.listeners[name], &listener{value: value, call: f, isOn: true})
	}
}

func (s *eventSource) addEventListener(call sobek.FunctionCall) sobek.Value {
	name, value := call.Argument(0).String(), call.Argument(1)
	if common.IsNullish(value) {
		return sobek.Undefined()
	}
	f, ok := sobek.AssertFunction(value)
	if !ok {
		s.mi.throw(newOptionError("addEventListener()", wrong("listener", value, "a function")))
	}
	if s.find(name, value) != nil {
		return sobek.Undefined()
	}
	once := false
	if options, ok := call.Argument(2).(*sobek.Object); ok {
		if v := options.Get("once"); v != nil {
			once = v.ToBoolean()
		}
	}
	s.listeners[name] = append(s.listeners[name], &listener{value: value, call: f, once: once})
	return sobek.Undefined()
}

func (s *eventSource) removeEventListener(call sobek.FunctionCall) sobek.Value {
	name := call.Argument(0).String()
	if l := s.find(name, call.Argument(1)); l != nil {
		s.remove(name, l)
	}
	return sobek.Undefined()
}

func (t *target) find(name string, value sobek.Value) *listener {
	for _, l := range t.listeners[name] {
		if !l.isOn && l.value.SameAs(value) {
			return l
		}
	}
	return nil
}

func (t *target) remove(name string, l *listener) {
	l.removed = true
	// A new slice, because dispatch may be going through the old one.
	remaining := slices.Clone(t.listeners[name])
	t.listeners[name] = slices.DeleteFunc(remaining, func(other *listener) bool { return other == l })
}

func (t *target) listens(name string) bool { return len(t.listeners[name]) > 0 }

// newEvent makes an event object without its particulars.
func (t *target) newEvent(name string) *sobek.Object {
	obj := t.rt.NewObject()
	must(t.rt, obj.Set("type", name))
	must(t.rt, obj.Set("target", t.object))
	must(t.rt, obj.Set("timestamp", float64(time.Now().UnixMicro())/1000))
	return obj
}

// dispatch calls the listeners that there are now, in their order, and stops at the first exception.
func (t *target) dispatch(name string, ev *sobek.Object) error {
	for _, l := range slices.Clip(t.listeners[name]) {
		if l.removed {
			continue
		}
		if l.once {
			t.remove(name, l)
		}
		if _, err := l.call(t.object, ev); err != nil {
			return err
		}
	}
	return nil
}
