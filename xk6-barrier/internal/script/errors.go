package script

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"unicode"

	"github.com/grafana/sobek"
)

// Errors makes the errors of one virtual user.
type Errors struct {
	class sobek.Value // nil before the first error
}

// Code is what a script compares: the kind of an error without what it is about. All names are made of what the error is
// about, of its kind and of "Error": the code of a BarrierTimeoutError and of a QueueTimeoutError is TIMEOUT, that of an
// SSEInvalidURLError is INVALID_URL. It is empty for the error of no kind, which has a code of its own.
func Code(name string) string {
	kind := strings.TrimSuffix(name, "Error")
	for _, subject := range []string{"Barrier", "Queue", "Group", "SSE"} {
		kind = strings.TrimPrefix(kind, subject)
	}
	var code strings.Builder
	for at, letter := range kind {
		if at > 0 && unicode.IsUpper(letter) && unicode.IsLower(rune(kind[at-1])) {
			code.WriteByte('_')
		}
		code.WriteRune(unicode.ToUpper(letter))
	}
	return code.String()
}

// New makes an Error of the runtime's own class, so that a script that replaces the global one changes nothing here. The
// class is found at the first error: k6 makes it only for the virtual users that need it. It goes by a name and has a code,
// the given one or that of the name.
func (e *Errors) New(rt *sobek.Runtime, message, name, code string) Data {
	if code == "" {
		code = Code(name)
	}
	if e.class == nil {
		e.class = rt.NewTypeError().Prototype().Prototype().Get("constructor")
	}
	object, err := rt.New(e.class, rt.ToValue(message))
	if err != nil {
		panic(err)
	}
	return Data{rt, object}.Tell("name", name).Tell("code", code)
}

// TellOption adds what was wrong with which option.
func (d Data) TellOption(option, got, allowed string) {
	d.Tell("option", option).Tell("got", got).Tell("allowed", allowed)
}

// WrongOption is the reason of an error about an option or argument: which one, what it was and what it may be.
func WrongOption(option, got, allowed string) string {
	return fmt.Sprintf("option %q: got %s, allowed is %s", option, got, allowed)
}

// UnknownOption is the reason of an error about an option that there is not; allowed lists those that there are.
func UnknownOption(option, allowed string) string {
	return fmt.Sprintf("option %q does not exist, allowed are: %s", option, allowed)
}

// interruption is what k6 itself raises when it ends a virtual user: no catch clause sees it, and nothing is logged.
// There is no other way to make one than to interrupt some runtime.
var interruption = sync.OnceValue(func() error { //nolint:gochecknoglobals // a constant that has to be computed
	rt := sobek.New()
	rt.Interrupt(context.Canceled) // k6 knows it by this value
	_, err := rt.RunString("0")
	return err
})

// Interrupt ends the running JavaScript as k6 ends it in sleep().
func Interrupt() { panic(interruption()) }
