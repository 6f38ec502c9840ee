package class

import (
	"slices"

	"github.com/grafana/sobek"
)

// Field is a property that comes to be when a script first looks at it.
type Field struct {
	Name string
	// Make makes the value at the first look.
	Make func() any
	// Get makes it anew at each look, in place of Make.
	Get func() any
}

// fields is the one dynamic object of the modules. Ten thousand virtual users that are handed something at the same time would
// pay a function object of half a kilobyte ten thousand times over for each method and class that most scripts never name.
// Like all of JavaScript it belongs to the virtual user's goroutine.
type fields struct {
	rt   *sobek.Runtime
	fill func() []Field // nil once it was called
	list []Field
	made []sobek.Value // by place in the list; nil before the first look
	// The object that this one is the prototype of, and that what was made becomes an ordinary property of. Where there is one
	// it, and not this object, is what scripts know, so that nothing is listed here and nothing can be changed here.
	above *sobek.Object
	lower bool
	self  sobek.Value // of exports
}

var _ sobek.DynamicObject = &fields{}

// Exports makes an object of fields that may be listed and replaced: what a module exports. It is its own default export, as
// require() gives it for modules that have one.
func Exports(rt *sobek.Runtime, fill func() []Field) *sobek.Object {
	f := &fields{rt: rt, fill: fill}
	object := rt.NewDynamicObject(f)
	f.self = object
	return object
}

// Instance makes an ordinary object whose prototype is made of fields, for the only object of its kind that a call hands out.
func Instance(rt *sobek.Runtime, fill func() []Field) *sobek.Object {
	return rt.CreateObject(rt.NewDynamicObject(&fields{rt: rt, fill: fill, lower: true}))
}

// putBeneath gives an object, such as the prototype of a class, properties that become its own when they are first used.
func putBeneath(rt *sobek.Runtime, above *sobek.Object, fill func() []Field) error {
	return above.SetPrototype(rt.NewDynamicObject(&fields{rt: rt, fill: fill, above: above, lower: true}))
}

func (f *fields) index(name string) int {
	if f.fill != nil {
		f.list, f.fill = f.fill(), nil
	}
	return slices.IndexFunc(f.list, func(field Field) bool { return field.Name == name })
}

// Get implements sobek.DynamicObject.
func (f *fields) Get(name string) sobek.Value {
	at := f.index(name)
	switch {
	case at >= 0:
	case f.self != nil && name == "default":
		return f.self
	case f.self != nil && name == "__esModule":
		return f.rt.ToValue(true)
	default:
		return nil
	}
	field := f.list[at]
	if field.Get != nil {
		return f.rt.ToValue(field.Get())
	}
	if f.made == nil {
		f.made = make([]sobek.Value, len(f.list))
	}
	if f.made[at] == nil {
		f.made[at] = f.rt.ToValue(field.Make())
		if f.above != nil {
			// Where a script has frozen what is above, it goes on being served from here.
			_ = f.above.DefineDataProperty(name, f.made[at], sobek.FLAG_TRUE, sobek.FLAG_TRUE, sobek.FLAG_FALSE)
		}
	}
	return f.made[at]
}

// Set implements sobek.DynamicObject.
func (f *fields) Set(name string, value sobek.Value) bool {
	if f.lower {
		return false
	}
	at := f.index(name)
	if at < 0 {
		at = len(f.list)
		f.list = append(f.list, Field{Name: name})
	}
	for len(f.made) < len(f.list) {
		f.made = append(f.made, nil)
	}
	f.made[at] = value
	return true
}

// Has implements sobek.DynamicObject.
func (f *fields) Has(name string) bool {
	return f.index(name) >= 0 || f.self != nil && (name == "default" || name == "__esModule")
}

// Delete implements sobek.DynamicObject.
func (f *fields) Delete(name string) bool { return !f.Has(name) }

// Keys implements sobek.DynamicObject. What is beneath an object is no more listed than the methods of any class.
func (f *fields) Keys() []string {
	if f.lower {
		return nil
	}
	f.index("")
	names := make([]string, len(f.list))
	for at, field := range f.list {
		names[at] = field.Name
	}
	return names
}
