package barrier

import (
	"slices"

	"github.com/grafana/sobek"
)

// classNames are the classes of the module.
var classNames = []string{"Barrier", "QueueCounter"} //nolint:gochecknoglobals // a constant that Go has no constant form for

// classes are what the module exports. A class takes 1.2 KB of each virtual user, so each is made when a script first names
// it. A script may change them, as it may change those of other modules.
type classes struct {
	inst   *instance
	names  []string
	values []sobek.Value // nil while nobody has named it
}

var _ sobek.DynamicObject = &classes{}

func newClasses(i *instance) *sobek.Object {
	return i.vu.Runtime().NewDynamicObject(&classes{
		inst: i, names: slices.Clip(classNames), values: make([]sobek.Value, len(classNames)),
	})
}

// Get implements sobek.DynamicObject.
func (c *classes) Get(name string) sobek.Value {
	at := slices.Index(c.names, name)
	if at < 0 {
		return nil
	}
	if c.values[at] == nil {
		constructor := c.inst.newBarrier
		if name == "QueueCounter" {
			constructor = c.inst.newQueueCounter
		}
		c.values[at] = named(c.inst.vu.Runtime(), name, constructor)
	}
	return c.values[at]
}

// Set implements sobek.DynamicObject.
func (c *classes) Set(name string, value sobek.Value) bool {
	if at := slices.Index(c.names, name); at >= 0 {
		c.values[at] = value
		return true
	}
	c.names = append(c.names, name)
	c.values = append(c.values, value)
	return true
}

// Has implements sobek.DynamicObject.
func (c *classes) Has(name string) bool { return slices.Contains(c.names, name) }

// Delete implements sobek.DynamicObject.
func (c *classes) Delete(name string) bool { return !c.Has(name) }

// Keys implements sobek.DynamicObject.
func (c *classes) Keys() []string { return slices.Clone(c.names) }
