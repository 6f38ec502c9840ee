package barrier

import (
	"encoding/json"
	"slices"

	"github.com/grafana/sobek"
)

type (
	// queueNames are the keys of a counter and where each of them is.
	queueNames struct {
		keys []string
		at   map[string]int
	}

	// queueLengths are the lengths of queues by key, as plain data in the order of the keys. Making an ordinary object of a
	// hundred properties takes as long as a round trip to the server.
	queueLengths struct {
		*queueNames

		rt      *sobek.Runtime
		lengths []uint64
		changed *sobek.Object // holds everything once a script changed something
	}
)

var _ sobek.DynamicObject = &queueLengths{}

func newQueueNames(keys []string) *queueNames {
	n := &queueNames{keys: keys, at: make(map[string]int, len(keys))}
	for at, key := range keys {
		n.at[key] = at
	}
	return n
}

// object makes an object of lengths in the order of the keys.
func (n *queueNames) object(rt *sobek.Runtime, lengths []uint64) *sobek.Object {
	return rt.NewDynamicObject(&queueLengths{queueNames: n, rt: rt, lengths: lengths})
}

// ordinary is the same as an ordinary object, which inherits nothing.
func (q *queueLengths) ordinary() *sobek.Object {
	if q.changed == nil {
		q.changed = q.rt.CreateObject(nil)
		for at, key := range q.keys {
			_ = q.changed.Set(key, q.lengths[at]) // a fresh object refuses nothing
		}
	}
	return q.changed
}

// Get implements sobek.DynamicObject.
func (q *queueLengths) Get(name string) sobek.Value {
	if q.changed != nil {
		return q.changed.Get(name)
	}
	if at, ok := q.at[name]; ok {
		return q.rt.ToValue(q.lengths[at])
	}
	return nil
}

// Set implements sobek.DynamicObject.
func (q *queueLengths) Set(name string, value sobek.Value) bool {
	return q.ordinary().Set(name, value) == nil
}

// Has implements sobek.DynamicObject.
func (q *queueLengths) Has(name string) bool { return q.Get(name) != nil }

// Delete implements sobek.DynamicObject.
func (q *queueLengths) Delete(name string) bool { return q.ordinary().Delete(name) == nil }

// Keys implements sobek.DynamicObject.
func (q *queueLengths) Keys() []string {
	if q.changed != nil {
		return q.changed.Keys()
	}
	return slices.Clone(q.keys)
}

// MarshalJSON is for those in k6 who take the object out of JavaScript, such as the result of setup().
func (q *queueLengths) MarshalJSON() ([]byte, error) { return json.Marshal(q.ordinary()) }
