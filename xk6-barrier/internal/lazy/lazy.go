// Package lazy makes JavaScript objects whose properties come to be when a script first looks at one of them.
//
// A plain object costs its table and, for a method or a getter, a function object each. Ten thousand VUs that are handed
// something at the same time would pay that ten thousand times, for properties that most scripts never look at.
package lazy

import (
	"encoding/json"
	"slices"

	"github.com/grafana/sobek"
)

// Field is a property of an object.
type Field struct {
	Name string
	// Value is what sobek's ToValue takes.
	Value any
	// Make gives the value at the first look, in place of Value.
	Make func() any
	// Get gives the value anew at each look, in place of Value.
	Get func() any
	// Fixed is a property that scripts can neither change nor delete. One with Get must be.
	Fixed bool
}

// object is the table behind an object. Like all of JavaScript it belongs to the VU's goroutine.
type object struct {
	rt     *sobek.Runtime
	fill   func() []Field // nil once it was called
	fields []Field        // a value becomes sobek's when it is first looked at
}

var _ sobek.DynamicObject = &object{}

// Object makes an object of the fields that fill returns, which is called at the first look. Scripts may add properties of
// their own.
func Object(rt *sobek.Runtime, fill func() []Field) *sobek.Object {
	return rt.NewDynamicObject(&object{rt: rt, fill: fill})
}

func (o *object) index(name string) int {
	if o.fill != nil {
		o.fields = o.fill()
		o.fill = nil
	}
	return slices.IndexFunc(o.fields, func(f Field) bool { return f.Name == name })
}

// Get implements sobek.DynamicObject.
func (o *object) Get(name string) sobek.Value {
	at := o.index(name)
	if at < 0 {
		return nil
	}
	f := &o.fields[at]
	if f.Get != nil {
		return o.rt.ToValue(f.Get())
	}
	if f.Make != nil {
		f.Value, f.Make = f.Make(), nil
	}
	value, ok := f.Value.(sobek.Value)
	if !ok {
		value = o.rt.ToValue(f.Value)
		f.Value = value
	}
	return value
}

// Set implements sobek.DynamicObject.
func (o *object) Set(name string, value sobek.Value) bool {
	at := o.index(name)
	if at < 0 {
		o.fields = append(o.fields, Field{Name: name, Value: value})
		return true
	}
	f := &o.fields[at]
	if !f.Fixed {
		f.Value, f.Make = value, nil
	}
	return !f.Fixed
}

// Has implements sobek.DynamicObject.
func (o *object) Has(name string) bool { return o.index(name) >= 0 }

// Delete implements sobek.DynamicObject.
func (o *object) Delete(name string) bool {
	at := o.index(name)
	if at < 0 {
		return true
	}
	if o.fields[at].Fixed {
		return false
	}
	o.fields = slices.Delete(o.fields, at, at+1)
	return true
}

// Keys implements sobek.DynamicObject.
func (o *object) Keys() []string {
	o.index("")
	names := make([]string, len(o.fields))
	for at, f := range o.fields {
		names[at] = f.Name
	}
	return names
}

// MarshalJSON is for those in k6 who take the object out of JavaScript, such as the result of setup().
func (o *object) MarshalJSON() ([]byte, error) {
	plain := o.rt.NewObject()
	for _, name := range o.Keys() {
		if err := plain.Set(name, o.Get(name)); err != nil {
			return nil, err
		}
	}
	return json.Marshal(plain)
}
