package barrier

import (
	"errors"
	"strings"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

// The names of the errors that scripts see. index.d.ts lists the same; TestCodesAgree compares them.
const (
	timeoutError      = "BarrierTimeoutError"
	brokenError       = "BarrierBrokenError"
	optionError       = "BarrierOptionError"
	storeError        = "BarrierStoreError"
	conflictError     = "BarrierConflictError"
	lateError         = "BarrierLateError"
	queueTypeError    = "QueueTypeError"
	queueTimeoutError = "QueueTimeoutError"
	groupTimeoutError = "GroupTimeoutError"
	groupLeftError    = "GroupLeftError"
	internalError     = "BarrierError" // none of the above: a closed engine, too many calls, a bug
)

// Error is an error of this module before it becomes a JavaScript one.
type Error struct {
	name    string
	code    string // with internalError; all others have that of their name
	call    string
	reason  string
	option  string // with optionError: which option, what it was, and what it may be
	got     string
	allowed string
	key     string // with queueTypeError
	kind    string
	pending bool
	status  *core.BarrierStatus
	cause   error
}

func (e *Error) Error() string { return e.call + "() failed; reason: " + e.reason }

func (e *Error) Unwrap() error { return e.cause }

// newOptionError says which option was wrong, what it was and what it may be.
func newOptionError(option, got, allowed string) *Error {
	return &Error{
		name:   optionError,
		reason: script.WrongOption(option, got, allowed),
		option: option, got: got, allowed: allowed,
	}
}

// of says which call an error belongs to.
func (e *Error) of(call string) *Error {
	e.call = call
	return e
}

// codeOf is the code of an error of no kind: the status of the core without what only its ABI needs.
func codeOf(status core.Status) string { return strings.TrimPrefix(status.String(), "KBAR_") }

// wrapError gives an error of the core its name.
func wrapError(call string, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		mine := *known // others may have got the same one
		if mine.call == "" {
			mine.call = call
		}
		return &mine
	}
	e := &Error{name: internalError, code: codeOf(core.Closed), call: call, reason: err.Error(), cause: err}
	var status *core.Error
	if !errors.As(err, &status) {
		return e
	}
	e.code = codeOf(status.Status)
	e.pending = status.Pending
	e.option, e.got, e.allowed = status.Option, status.Got, status.Allowed
	e.key, e.kind = status.Key, status.Type
	if name, ok := map[core.Status]string{
		core.Timeout:   timeoutError,
		core.Broken:    brokenError,
		core.Option:    optionError,
		core.Store:     storeError,
		core.Conflict:  conflictError,
		core.QueueType: queueTypeError,
	}[status.Status]; ok {
		e.name, e.code = name, ""
	}
	if e.option != "" {
		e.reason = script.WrongOption(e.option, e.got, e.allowed)
	}
	return e
}

// errorValue makes the JavaScript error. It must be called where JavaScript may run.
func (i *instance) errorValue(err error) sobek.Value {
	rt := i.vu.Runtime()
	var e *Error
	if !errors.As(err, &e) {
		return rt.NewGoError(err) // k6's own, such as the one about the init context
	}
	object := i.errors.New(rt, e.Error(), e.name, e.code).Tell("pending", e.pending)
	if e.option != "" {
		object.TellOption(e.option, e.got, e.allowed)
	}
	if e.key != "" {
		object.Tell("key", e.key).Tell("type", e.kind)
	}
	if e.status != nil {
		object.Tell("status", statusValue(rt, e.status))
	}
	return object.Object
}

// throw ends the running JavaScript with an error. Where k6 ended the iteration, JavaScript ends as it does in sleep().
func (i *instance) throw(err error) {
	if errors.Is(err, core.ErrEnded) {
		script.Interrupt()
	}
	panic(i.errorValue(err))
}

// initContextError refuses a call that needs a running test.
func initContextError(call string) error {
	return common.NewInitContextError(call + "() failed; reason: the init context has no virtual user yet; " +
		"construct the barrier there and call it in setup(), a scenario's function or teardown()")
}
