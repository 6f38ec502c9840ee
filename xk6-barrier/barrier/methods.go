package barrier

import (
	"slices"
	"strings"

	"github.com/grafana/sobek"
)

type (
	// method is a method of a class.
	method[T any] struct {
		name string
		call func(T, sobek.FunctionCall) sobek.Value
	}

	// classObject is what JavaScript sees of a Go value: its methods, each made when a script first uses it. They are bound
	// to the value and cannot be replaced. With reflection, which k6 offers for this, each call would make its method anew,
	// at several times the cost of an arrival.
	classObject[T any] struct {
		rt      *sobek.Runtime
		value   T
		methods []method[T]
		made    []madeMethod // mostly one or two of many
	}

	madeMethod struct {
		at       int
		function sobek.Value
	}
)

// twins are a method that blocks and its async twin, which returns a promise.
func twins[T interface{ module() *instance }](name string, prepare func(T, string, sobek.FunctionCall) task) []method[T] {
	async := "async" + strings.ToUpper(name[:1]) + name[1:]
	return []method[T]{
		{name, func(v T, fc sobek.FunctionCall) sobek.Value { return v.module().sync(prepare(v, name, fc)) }},
		{async, func(v T, fc sobek.FunctionCall) sobek.Value { return v.module().async(prepare(v, async, fc)) }},
	}
}

// newObject makes an instance of the class that is being constructed.
func newObject[T interface{ module() *instance }](value T, methods []method[T], call sobek.ConstructorCall) *sobek.Object {
	i := value.module()
	rt := i.vu.Runtime()
	object := rt.NewDynamicObject(&classObject[T]{rt: rt, value: value, methods: methods})
	if err := object.SetPrototype(call.This.Prototype()); err != nil {
		i.throw(err)
	}
	return object
}

func (o *classObject[T]) index(name string) int {
	return slices.IndexFunc(o.methods, func(m method[T]) bool { return m.name == name })
}

// Get implements sobek.DynamicObject.
func (o *classObject[T]) Get(name string) sobek.Value {
	at := o.index(name)
	if at < 0 {
		return nil
	}
	for _, m := range o.made {
		if m.at == at {
			return m.function
		}
	}
	call := o.methods[at].call
	function := named(o.rt, name, func(fc sobek.FunctionCall) sobek.Value { return call(o.value, fc) })
	o.made = append(o.made, madeMethod{at, function})
	return function
}

// Set implements sobek.DynamicObject.
func (o *classObject[T]) Set(string, sobek.Value) bool { return false }

// Has implements sobek.DynamicObject.
func (o *classObject[T]) Has(name string) bool { return o.index(name) >= 0 }

// Delete implements sobek.DynamicObject.
func (o *classObject[T]) Delete(name string) bool { return !o.Has(name) }

// Keys implements sobek.DynamicObject.
func (o *classObject[T]) Keys() []string {
	names := make([]string, len(o.methods))
	for at, m := range o.methods {
		names[at] = m.name
	}
	return names
}

// named makes a function that goes by its JavaScript name rather than by that of a Go function.
func named(rt *sobek.Runtime, name string, function any) *sobek.Object {
	object := rt.ToValue(function).ToObject(rt)
	_ = object.DefineDataProperty("name", rt.ToValue(name), sobek.FLAG_FALSE, sobek.FLAG_TRUE, sobek.FLAG_FALSE)
	return object
}
