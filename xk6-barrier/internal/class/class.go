// Package class makes JavaScript classes of Go types: classes that scripts may extend, with methods on their prototype that
// are made when first used, and ordinary instances that hold nothing but a reference to their Go value.
package class

import (
	"github.com/grafana/sobek"
	"maps"
	"slices"
)

type (
	// Class is a class whose instances stand for Go values of the type T.
	Class[T Value] struct {
		Name string
		// Length is how many arguments the constructor needs.
		Length int
		// New makes the value of a new instance, call.This, or throws.
		New       func(call sobek.ConstructorCall) T
		Methods   []Method[T]
		Accessors []Accessor[T]
		// Constants are of the class and of its instances.
		Constants map[string]int
	}

	// Method is a method of a class.
	Method[T Value] struct {
		Name string
		Call func(T, sobek.FunctionCall) sobek.Value
	}

	// Accessor is a property of instances that is computed at each look; without Set it cannot be assigned to. Unlike methods
	// accessors cannot wait for their first use, so each costs a function or two for each virtual user that names the class.
	Accessor[T Value] struct {
		Name string
		Get  func(T) any
		Set  func(T, sobek.Value)
	}

	// Value is a Go value behind an instance: a pointer to something that embeds Hidden.
	Value interface {
		sobek.DynamicObject
		comparable
	}
)

// Hidden makes the type that embeds it something that a property of an instance can hold and no script can look into.
type Hidden struct{}

// Get implements sobek.DynamicObject.
func (Hidden) Get(string) sobek.Value { return nil }

// Set implements sobek.DynamicObject.
func (Hidden) Set(string, sobek.Value) bool { return false }

// Has implements sobek.DynamicObject.
func (Hidden) Has(string) bool { return false }

// Delete implements sobek.DynamicObject.
func (Hidden) Delete(string) bool { return true }

// Keys implements sobek.DynamicObject.
func (Hidden) Keys() []string { return nil }

// inside is the key under which an instance keeps its value. Unlike private fields of JavaScript it is also found through a
// Proxy that a script wraps around an instance, and by objects that inherit from one.
var inside = sobek.NewSymbol("inside") //nolint:gochecknoglobals // symbols are constants

// Constructor makes the class for one virtual user.
func (c Class[T]) Constructor(rt *sobek.Runtime) (*sobek.Object, error) {
	var prototype *sobek.Object
	name, make := c.Name, c.New // and not the rest of c, which would be kept for each virtual user
	constructor := Function(rt, name, func(call sobek.ConstructorCall) *sobek.Object {
		if !inherits(call.This, prototype) {
			panic(rt.NewTypeError("Class constructor %s cannot be invoked without 'new'", name))
		}
		if err := call.This.DefineDataPropertySymbol(inside, rt.NewDynamicObject(make(call)),
			sobek.FLAG_FALSE, sobek.FLAG_FALSE, sobek.FLAG_FALSE); err != nil {
			panic(rt.NewTypeError("a %s is constructed once", name))
		}
		return nil
	})
	prototype = constructor.Get("prototype").ToObject(rt)
	for _, a := range c.Accessors {
		if err := a.define(rt, prototype, c.Name); err != nil {
			return nil, err
		}
	}
	for _, holder := range []*sobek.Object{constructor, prototype} {
		for _, name := range slices.Sorted(maps.Keys(c.Constants)) { // in one order, which scripts see
			value := c.Constants[name]
			if err := holder.DefineDataProperty(
				name, rt.ToValue(value), sobek.FLAG_FALSE, sobek.FLAG_FALSE, sobek.FLAG_TRUE); err != nil {
				return nil, err
			}
		}
	}
	constant := func(name string, value any) error {
		return constructor.DefineDataProperty(name, rt.ToValue(value), sobek.FLAG_FALSE, sobek.FLAG_FALSE, sobek.FLAG_FALSE)
	}
	if err := constant("prototype", prototype); err != nil {
		return nil, err
	}
	if err := constructor.DefineDataProperty(
		"length", rt.ToValue(c.Length), sobek.FLAG_FALSE, sobek.FLAG_TRUE, sobek.FLAG_FALSE); err != nil {
		return nil, err
	}
	methods, class := c.Methods, c.Name
	return constructor, putBeneath(rt, prototype, func(name string) Field { return method(rt, methods, class, name) })
}

func inherits(object, prototype *sobek.Object) bool {
	for o := object; o != nil; o = o.Prototype() {
		if o.SameAs(prototype) {
			return true
		}
	}
	return false
}

// method is the field of a method.
func method[T Value](rt *sobek.Runtime, methods []Method[T], class, name string) Field {
	for _, m := range methods {
		if m.Name == name {
			return Field{Make: func() any {
				return Function(rt, name, func(call sobek.FunctionCall) sobek.Value {
					return m.Call(valueOf[T](rt, call.This, class, name), call)
				})
			}}
		}
	}
	return Field{}
}

func (a Accessor[T]) define(rt *sobek.Runtime, prototype *sobek.Object, class string) error {
	get := Function(rt, "get "+a.Name, func(call sobek.FunctionCall) sobek.Value {
		return rt.ToValue(a.Get(valueOf[T](rt, call.This, class, a.Name)))
	})
	var set sobek.Value
	if a.Set != nil {
		set = Function(rt, "set "+a.Name, func(call sobek.FunctionCall) sobek.Value {
			a.Set(valueOf[T](rt, call.This, class, a.Name), call.Argument(0))
			return sobek.Undefined()
		})
	}
	return prototype.DefineAccessorProperty(a.Name, get, set, sobek.FLAG_TRUE, sobek.FLAG_TRUE)
}

// valueOf is the value behind an instance. Methods are not bound to their instance, as those of any class are not.
func valueOf[T Value](rt *sobek.Runtime, this sobek.Value, class, member string) T {
	if object, ok := this.(*sobek.Object); ok {
		if kept := object.GetSymbol(inside); kept != nil {
			if value, ok := kept.Export().(T); ok {
				return value
			}
		}
	}
	panic(rt.NewTypeError("%s is a member of %s and not bound to the instance that it was taken from", member, class))
}

// Function makes a function that goes by its JavaScript name rather than by that of a Go function.
func Function(rt *sobek.Runtime, name string, function any) *sobek.Object {
	object := rt.ToValue(function).ToObject(rt)
	_ = object.DefineDataProperty("name", rt.ToValue(name), sobek.FLAG_FALSE, sobek.FLAG_TRUE, sobek.FLAG_FALSE)
	return object
}
