package barrier

import (
	"encoding/json"
	"slices"

	"github.com/grafana/sobek"
)

// lazyObject is plain data whose properties come to be when a script first looks at them. Most scripts never look at what
// their wait returned, and ten thousand who are released at once would otherwise fill ten thousand tables first.
type lazyObject struct {
	fill   func() []field // nil once it was called
	names  []string
	values []sobek.Value
	rt     *sobek.Runtime
}

var _ sobek.DynamicObject = &lazyObject{}

// lazy makes an object of the fields that fill returns.
func lazy(rt *sobek.Runtime, fill func() []field) *sobek.Object {
	return rt.NewDynamicObject(&lazyObject{rt: rt, fill: fill})
}

func (o *lazyObject) index(name string) int {
	if o.fill != nil {
		for _, f := range o.fill() {
			o.names = append(o.names, f.name)
			o.values = append(o.values, o.rt.ToValue(f.value))
		}
		o.fill = nil
	}
	return slices.Index(o.names, name)
}

// Get implements sobek.DynamicObject.
func (o *lazyObject) Get(name string) sobek.Value {
	if at := o.index(name); at >= 0 {
		return o.values[at]
	}
	return nil
}

// Set implements sobek.DynamicObject.
func (o *lazyObject) Set(name string, value sobek.Value) bool {
	if at := o.index(name); at >= 0 {
		o.values[at] = value
		return true
	}
	o.names = append(o.names, name)
	o.values = append(o.values, value)
	return true
}

// Has implements sobek.DynamicObject.
func (o *lazyObject) Has(name string) bool { return o.index(name) >= 0 }

// Delete implements sobek.DynamicObject.
func (o *lazyObject) Delete(name string) bool {
	if at := o.index(name); at >= 0 {
		o.names = slices.Delete(o.names, at, at+1)
		o.values = slices.Delete(o.values, at, at+1)
	}
	return true
}

// Keys implements sobek.DynamicObject.
func (o *lazyObject) Keys() []string {
	o.index("")
	return slices.Clone(o.names)
}

// MarshalJSON is for those in k6 who take the object out of JavaScript, such as the result of setup().
func (o *lazyObject) MarshalJSON() ([]byte, error) {
	plain := o.rt.NewObject()
	for at, name := range o.Keys() {
		if err := plain.Set(name, o.values[at]); err != nil {
			return nil, err
		}
	}
	return json.Marshal(plain)
}
