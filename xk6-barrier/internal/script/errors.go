package script

import (
	"errors"
	"fmt"
	"sync"

	"github.com/grafana/sobek"
)

// ErrInterrupted is what k6's interruption of a virtual user carries where a call of ours ends it.
var ErrInterrupted = errors.New("k6 ended the iteration")

// Errors makes the errors of one virtual user.
type Errors struct {
	class sobek.Value // nil before the first error
}

// New makes an Error of the runtime's own class, so that a script that replaces the global one changes nothing here. The
// class is found at the first error: k6 makes it only for the virtual users that need it. What else the error says are
// properties that are not listed, like its message.
func (e *Errors) New(rt *sobek.Runtime, message string, fields ...Field) *sobek.Object {
	if e.class == nil {
		e.class = rt.NewTypeError().Prototype().Prototype().Get("constructor")
	}
	object, err := rt.New(e.class, rt.ToValue(message))
	if err != nil {
		panic(err)
	}
	for _, f := range fields {
		// A plain data property of a fresh object: setting it cannot fail.
		_ = object.DefineDataProperty(f.Name, rt.ToValue(f.Value), sobek.FLAG_TRUE, sobek.FLAG_TRUE, sobek.FLAG_FALSE)
	}
	return object
}

// WrongOption is the reason of an error about an option or argument: which one, what it was and what it may be.
func WrongOption(option, got, allowed string) string {
	return fmt.Sprintf("option %q: got %s, allowed is %s", option, got, allowed)
}

// UnknownOption is the reason of an error about an option that there is not; allowed lists those that there are.
func UnknownOption(option, allowed string) string {
	return fmt.Sprintf("option %q does not exist, allowed are: %s", option, allowed)
}

// OptionFields are what an error about an option has as properties.
func OptionFields(option, got, allowed string) []Field {
	return []Field{{"option", option}, {"got", got}, {"allowed", allowed}}
}

// interruption is what k6 itself raises when it ends a virtual user: no catch clause sees it, and nothing is logged.
// There is no other way to make one than to interrupt some runtime.
var interruption = sync.OnceValue(func() error { //nolint:gochecknoglobals // a constant that has to be computed
	rt := sobek.New()
	rt.Interrupt(ErrInterrupted)
	_, err := rt.RunString("0")
	return err
})

// Interrupt ends the running JavaScript as k6 ends it in sleep().
func Interrupt() { panic(interruption()) }
