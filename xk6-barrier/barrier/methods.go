package barrier

import (
	"strings"

	"github.com/grafana/sobek"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/class"
)

// ofModule is the Go value behind an instance of one of the module's classes.
type ofModule interface {
	class.Value
	module() *instance
}

// twins are a method that blocks and its async twin, which returns a promise.
func twins[T ofModule](name string, prepare func(T, string, sobek.FunctionCall) task) []class.Method[T] {
	async := "async" + strings.ToUpper(name[:1]) + name[1:]
	return []class.Method[T]{
		{Name: name, Call: func(v T, fc sobek.FunctionCall) sobek.Value { return v.module().sync(prepare(v, name, fc)) }},
		{Name: async, Call: func(v T, fc sobek.FunctionCall) sobek.Value { return v.module().async(prepare(v, async, fc)) }},
	}
}
