package class

import (
	"slices"

	"github.com/grafana/sobek"
)

// Field is a property that comes to be when a script first looks at it. Without a function there is no such property.
type Field struct {
	// Make makes the value at the first look.
	Make func() any
	// Get makes it anew at each look, in place of Make.
	Get func() any
}

// fields is the one dynamic object of the modules. Ten thousand virtual users that are handed something at the same time would
// pay a function object of half a kilobyte ten thousand times over for each method and class that most scripts never name. So
// nothing is kept here but what was made. Like all of JavaScript it belongs to the virtual user's goroutine.
type fields struct {
	rt   *sobek.Runtime
	find func(name string) Field
	made []property

	// Of exports: themselves, and what may be listed.
	self   *sobek.Object
	listed []string

	// The object that this one is the prototype of, and that what was made becomes an ordinary property of.
	above *sobek.Object
}

type property struct {
	name  string
	value sobek.Value
}

var _ sobek.DynamicObject = &fields{}

// Exports makes an object of fields that may be listed and replaced: what a module exports. It is its own default export, as
// require() gives it for modules that have one.
func Exports(rt *sobek.Runtime, names []string, find func(name string) Field) *sobek.Object {
	f := &fields{rt: rt, find: find, listed: names}
	f.self = rt.NewDynamicObject(f)
	return f.self
}

// Instance makes an ordinary object whose prototype is made of fields, for the only object of its kind that a call hands out.
func Instance(rt *sobek.Runtime, find func(name string) Field) *sobek.Object {
	return rt.CreateObject(rt.NewDynamicObject(&fields{rt: rt, find: find}))
}

// putBeneath gives an object, such as the prototype of a class, properties that become its own when they are first used.
func putBeneath(rt *sobek.Runtime, above *sobek.Object, find func(name string) Field) error {
	return above.SetPrototype(rt.NewDynamicObject(&fields{rt: rt, find: find, above: above}))
}

// known is what was made or set before.
func (f *fields) known(name string) int {
	return slices.IndexFunc(f.made, func(p property) bool { return p.name == name })
}

// Get implements sobek.DynamicObject.
func (f *fields) Get(name string) sobek.Value {
	if at := f.known(name); at >= 0 {
		return f.made[at].value
	}
	field := f.find(name)
	switch {
	case field.Get != nil:
		return f.rt.ToValue(field.Get())
	case field.Make != nil:
		value := f.rt.ToValue(field.Make())
		// Where a script has frozen what is above, it goes on being served from here.
		if f.above == nil ||
			f.above.DefineDataProperty(name, value, sobek.FLAG_TRUE, sobek.FLAG_TRUE, sobek.FLAG_FALSE) != nil {
			f.made = append(f.made, property{name, value})
		}
		return value
	case f.self != nil && name == "default":
		return f.self
	case f.self != nil && name == "__esModule":
		return f.rt.ToValue(true)
	}
	return nil
}

// Set implements sobek.DynamicObject. Scripts know the object above, and not this one, except for exports.
func (f *fields) Set(name string, value sobek.Value) bool {
	if f.self == nil {
		return false
	}
	if at := f.known(name); at >= 0 {
		f.made[at].value = value
		return true
	}
	f.made = append(f.made, property{name, value})
	if !slices.Contains(f.listed, name) {
		f.listed = append(slices.Clip(f.listed), name)
	}
	return true
}

// Has implements sobek.DynamicObject.
func (f *fields) Has(name string) bool {
	field := f.find(name)
	return field.Get != nil || field.Make != nil || f.known(name) >= 0 || f.self != nil && (name == "default" || name == "__esModule")
}

// Delete implements sobek.DynamicObject.
func (f *fields) Delete(name string) bool { return !f.Has(name) }

// Keys implements sobek.DynamicObject. What is beneath an object is no more listed than the methods of any class.
func (f *fields) Keys() []string { return slices.Clone(f.listed) }
