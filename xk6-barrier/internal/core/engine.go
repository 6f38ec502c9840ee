// Package core is the Go side of the C ABI of the Rust core.
//
// It knows tokens, frames, handles and gates, and nothing of k6 or JavaScript. Its [Client] turns the one pipe of
// completions into goroutines that wake up; everything that a barrier means is decided by the Rust core behind [Engine].
package core

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ABIVersion is the version of the C ABI that this module speaks, KBAR_ABI_VERSION of its barrier.h.
const ABIVersion = 2

// RebuildCommand makes a core and a k6 that belong together.
const RebuildCommand = "make k6"

// Status is the answer of an export: 0 is done, positive is accepted, negative is an error.
type Status int32

// The status codes of the ABI. They are append-only; TestCodesAgree compares them with barrier.h and index.d.ts.
const (
	OK        Status = 0
	Pending   Status = 1
	Closed    Status = -1
	Invalid   Status = -2
	Busy      Status = -3
	Panic     Status = -4
	Option    Status = -5
	Store     Status = -6
	Conflict  Status = -7
	Broken    Status = -8
	Timeout   Status = -9
	Cancelled Status = -10
	Buffer    Status = -11
	QueueType Status = -12
	Empty     Status = -13
)

// String is the name of the code in barrier.h.
func (s Status) String() string {
	names := map[Status]string{
		OK: "KBAR_OK", Pending: "KBAR_PENDING", Closed: "KBAR_CLOSED", Invalid: "KBAR_INVALID", Busy: "KBAR_BUSY",
		Panic: "KBAR_PANIC", Option: "KBAR_OPTION", Store: "KBAR_STORE", Conflict: "KBAR_CONFLICT",
		Broken: "KBAR_BROKEN", Timeout: "KBAR_TIMEOUT", Cancelled: "KBAR_CANCELLED", Buffer: "KBAR_BUFFER",
		QueueType: "KBAR_QUEUE_TYPE", Empty: "KBAR_EMPTY",
	}
	if name, ok := names[s]; ok {
		return name
	}
	return fmt.Sprintf("KBAR_%d", int32(s))
}

// Kind says what a [Request] asks for.
type Kind uint16

// The kinds of requests.
const (
	Arrive     Kind = 1
	Fail       Kind = 2
	Leave      Kind = 3
	Expire     Kind = 4
	Abort      Kind = 5
	ReleaseNow Kind = 6
	Close      Kind = 7
	Wait       Kind = 8
	Begin      Kind = 9
	End        Kind = 10
)

// Explicit is the flag of requests that marks a participant that the script gave itself.
const Explicit uint16 = 1

const (
	andWait uint16 = 2 // an arrival that waits for the release
	atOnce  uint16 = 4 // no completion is wanted
)

// Outcome is what a participant has in a phase.
type Outcome uint8

// The outcomes. OutcomeBroken answers an abort.
const (
	OutcomeNone    Outcome = 0
	OutcomeArrived Outcome = 1
	OutcomeFailed  Outcome = 2
	OutcomeLeft    Outcome = 3
	OutcomeLate    Outcome = 4
	OutcomeBroken  Outcome = 5
)

// String is the outcome as scripts see it.
func (o Outcome) String() string {
	return [...]string{"none", "arrived", "failed", "left", "late", "broken"}[min(o, OutcomeBroken)]
}

// Request is one operation on a barrier. It holds no pointer, so that it can be handed over as it is.
type Request struct {
	Handle uint64
	Owner  uint64 // the VU that calls; 0 in setup and teardown
	Phase  uint32 // of Expire, ReleaseNow and Wait
	Kind   Kind
	Flags  uint16
	Limit  Limit // of calls that wait
}

// Limit is how long a call waits.
type Limit struct {
	Wait  time.Duration // for the release
	Store time.Duration // after that for a store that has not acknowledged the arrival
}

// Arrival is what has become of the arrival of a call that waits.
type Arrival uint8

// What may have become of an arrival.
const (
	ArrivalOwed         Arrival = 0 // the store has not answered yet
	ArrivalAcknowledged Arrival = 1 // and the call waits
	ArrivalOver         Arrival = 2 // the call does not wait any more
)

// TLSOptions are the options for TLS as the core takes them. Texts are PEM. They hold a private key: nothing may print them.
type TLSOptions struct {
	CA         string `json:"ca,omitempty"`
	Cert       string `json:"cert,omitempty"`
	Key        string `json:"key,omitempty"`
	ServerName string `json:"serverName,omitempty"`
	Insecure   bool   `json:"insecure,omitempty"`
}

// Error is an error status with what the core says about it.
type Error struct {
	Status  Status `json:"-"`
	Message string `json:"message"`
	// Pending is set where the outcome stands in the ledger and is delivered later.
	Pending bool `json:"pending"`
	// Option, Got and Allowed are set with the status Option.
	Option  string `json:"option"`
	Got     string `json:"got"`
	Allowed string `json:"allowed"`
	// Key and Type are set with the status QueueType.
	Key  string `json:"key"`
	Type string `json:"type"`
}

func (e *Error) Error() string {
	switch {
	case e.Message != "":
		return e.Message
	case e.Option != "":
		return fmt.Sprintf("option %s: got %s, allowed is %s", e.Option, e.Got, e.Allowed)
	}
	text := map[Status]string{
		Closed:  "the barrier's engine is closed",
		Invalid: "the core could not read what it was given, which is a bug of this extension",
		Busy:    "too many calls are under way at once",
		Panic:   "the core met a bug of its own",
		Store:   "the store did not answer",
	}[e.Status]
	if text == "" {
		text = "the core answered " + e.Status.String()
	}
	return text
}

// newError reads the text of an error status.
func newError(status Status, text []byte) *Error {
	e := &Error{Status: status}
	if len(text) > 0 && json.Unmarshal(text, e) != nil {
		e.Message = string(text)
	}
	return e
}

// HasStatus reports whether the error is one of the core's with this status.
func HasStatus(err error, status Status) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == status
}

// Engine is the Rust core: one export of the C ABI per method, none of which blocks except Close.
//
// Arguments are copied before a method returns. All methods may be called from any goroutine.
type Engine interface {
	// Start makes the completion pipe and gives its write end to the core. It is called once, before all
	// other methods except those that check options. The read end is the caller's.
	Start() (io.ReadCloser, error)
	// Close delivers what is queued as far as the deadline allows and closes the pipe's write end.
	Close(deadline time.Duration)
	// CheckOptions validates options without any I/O.
	CheckOptions(options []byte) error
	// Open opens or finds a barrier; a frame with the token follows where it returns Pending.
	Open(token uint64, options []byte) (barrier uint64, status Status)
	// OpenCounter opens a queue counter, at once.
	OpenCounter(options []byte) (counter uint64, err error)
	// OpenOperator opens an operator, at once.
	OpenOperator(options []byte) (operator uint64, err error)
	// CheckGroup validates the options of groups without any I/O.
	CheckGroup(options []byte) error
	// OpenGroup opens or finds groups, at once.
	OpenGroup(options []byte) (group uint64, err error)
	// Submit starts one operation. It fills the frame where it returns OK.
	Submit(request *Request, token uint64, participant, reason string, frame *Frame) Status
	// Arrivals tells for each of these calls what has become of its arrival.
	Arrivals(barrier uint64, tokens []uint64, arrivals []Arrival) Status
	// Query asks a rare question in JSON; a frame with the token follows where it returns Pending.
	Query(handle, token uint64, question []byte) Status
	// Resolved answers a FrameResolve, in JSON.
	Resolved(token uint64, answer []byte)
	// Cancel forgets a token.
	Cancel(token uint64)
	// BarrierStatus is the barrier's state as this process knows it, in JSON.
	BarrierStatus(barrier uint64) ([]byte, Status)
	// ReleaseInfo is the release record of a phase, in JSON.
	ReleaseInfo(barrier uint64, phase uint32) ([]byte, Status)
	// TakeText is the text that belongs to a token's answer.
	TakeText(token uint64) ([]byte, Status)
	// NextLog is the next log line in JSON, until Empty.
	NextLog() ([]byte, Status)
}

// wantBuildID is set by a file that the build of the core generates for each system that it has a library for.
var wantBuildID string //nolint:gochecknoglobals // a generated file can only reach a package variable

// checkBuild refuses a core that this module was not built with. Go's build cache does not notice a changed library,
// so an old one could be linked without a word.
func checkBuild(abi uint32, buildID string) error {
	switch {
	case abi != ABIVersion:
		return fmt.Errorf("the linked core speaks ABI version %d, this module speaks %d; rebuild both with %q",
			abi, ABIVersion, RebuildCommand)
	case wantBuildID == "":
		return fmt.Errorf("this k6 was built without a build id, so it cannot tell which core is linked; "+
			"build it with %q or bin/xk6, which generate one", RebuildCommand)
	case wantBuildID != buildID:
		return fmt.Errorf("the linked core has build id %s, this module was built for %s; rebuild both with %q",
			buildID, wantBuildID, RebuildCommand)
	}
	return nil
}

// ErrNoCgo is the error of every call in a k6 that was built without cgo.
var ErrNoCgo = errors.New("this k6 was built without cgo, so k6/x/barrier has no core; " +
	"build it again with CGO_ENABLED=1 on Linux or macOS, or with bin/xk6, which sets it")
