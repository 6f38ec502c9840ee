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
	t := target{mi: mi, rt: mi.vu.Runtime(), object: object, listeners: make(map[string][]*listener)}
	t.method("addEventListener", t.addEventListener)
	t.method("removeEventListener", t.removeEventListener)
	return t
}

func (t *target) method(name string, f func(sobek.FunctionCall) sobek.Value) {
	must(t.rt, t.object.DefineDataProperty(name, t.rt.ToValue(f), sobek.FLAG_FALSE, sobek.FLAG_FALSE, sobek.FLAG_TRUE))
}

func (t *target) getter(name string, get func() any) {
	getter := t.rt.ToValue(func(sobek.FunctionCall) sobek.Value { return t.rt.ToValue(get()) })
	must(t.rt, t.object.DefineAccessorProperty(name, getter, nil, sobek.FLAG_FALSE, sobek.FLAG_TRUE))
}

// handlerProperty defines on…, which holds one function or null.
func (t *target) handlerProperty(name string) {
	current := func() *listener {
		for _, l := range t.listeners[name] {
			if l.isOn {
				return l
			}
		}
		return nil
	}
	getter := t.rt.ToValue(func(sobek.FunctionCall) sobek.Value {
		if l := current(); l != nil {
			return l.value
		}
		return sobek.Null()
	})
	setter := t.rt.ToValue(func(call sobek.FunctionCall) sobek.Value {
		value := call.Argument(0)
		f, ok := sobek.AssertFunction(value)
		l := current()
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
		return sobek.Undefined()
	})
	must(t.rt, t.object.DefineAccessorProperty("on"+name, getter, setter, sobek.FLAG_FALSE, sobek.FLAG_TRUE))
}

func (t *target) addEventListener(call sobek.FunctionCall) sobek.Value {
	name, value := call.Argument(0).String(), call.Argument(1)
	if common.IsNullish(value) {
		return sobek.Undefined()
	}
	f, ok := sobek.AssertFunction(value)
	if !ok {
		t.mi.throw(newOptionError("addEventListener()", wrong("listener", value, "a function")))
	}
	if t.find(name, value) != nil {
		return sobek.Undefined()
	}
	once := false
	if options, ok := call.Argument(2).(*sobek.Object); ok {
		if v := options.Get("once"); v != nil {
			once = v.ToBoolean()
		}
	}
	t.listeners[name] = append(t.listeners[name], &listener{value: value, call: f, once: once})
	return sobek.Undefined()
}

func (t *target) removeEventListener(call sobek.FunctionCall) sobek.Value {
	name := call.Argument(0).String()
	if l := t.find(name, call.Argument(1)); l != nil {
		t.remove(name, l)
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
