//go:build cgo && unix

package core

/*
#cgo noescape kbar_check_options
#cgo nocallback kbar_check_options
#cgo noescape kbar_start
#cgo nocallback kbar_start
#cgo nocallback kbar_close
#cgo noescape kbar_open
#cgo nocallback kbar_open
#cgo noescape kbar_open_counter
#cgo nocallback kbar_open_counter
#cgo noescape kbar_open_operator
#cgo nocallback kbar_open_operator
#cgo noescape kbar_check_group
#cgo nocallback kbar_check_group
#cgo noescape kbar_open_group
#cgo nocallback kbar_open_group
#cgo noescape kbar_submit
#cgo nocallback kbar_submit
#cgo noescape kbar_arrivals
#cgo nocallback kbar_arrivals
#cgo noescape kbar_query
#cgo nocallback kbar_query
#cgo noescape kbar_resolved
#cgo nocallback kbar_resolved
#cgo nocallback kbar_cancel
#cgo noescape kbar_status
#cgo nocallback kbar_status
#cgo noescape kbar_release_info
#cgo nocallback kbar_release_info
#cgo noescape kbar_take_text
#cgo nocallback kbar_take_text
#cgo noescape kbar_next_log
#cgo nocallback kbar_next_log

#if defined(__has_include)
#if !__has_include("barrier.h")
#error "xk6-barrier: its native core is not here; build with bin/xk6 of a checkout, run `make core` there, or take a tag or a release of the module, which has it"
#endif
#endif
#include "barrier.h"
*/
import "C"

import (
	"fmt"
	"io"
	"math"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cgoEngine is the linked Rust core. This file is the only one that calls it.
type cgoEngine struct {
	handle C.uint64_t
}

var _ Engine = (*cgoEngine)(nil)

// NewEngine gives the linked core, not yet started, after it made sure that it is the one this module was built for.
func NewEngine() (Engine, error) {
	if err := checkBuild(uint32(C.kbar_abi_version()), C.GoString(C.kbar_build_id())); err != nil {
		return nil, err
	}
	return &cgoEngine{}, nil
}

// Linked gives ABI version and build id of the linked core, whether or not this module was built for it.
func Linked() (uint32, string, error) {
	return uint32(C.kbar_abi_version()), C.GoString(C.kbar_build_id()), nil
}

func (e *cgoEngine) Start() (io.ReadCloser, error) {
	read, write, err := completionPipe()
	if err != nil {
		return nil, err
	}
	options := []byte(`{"hostResolves":true}`)
	status := C.kbar_start(bytesPtr(options), C.size_t(len(options)), C.int(write), &e.handle)
	if Status(status) != OK {
		_ = read.Close()
		return nil, &Error{Status: Status(status), Message: "the core could not start: " + Status(status).String()}
	}
	return read, nil
}

// completionPipe makes a pipe whose read end waits in Go's poller and whose write end is an ordinary blocking
// descriptor that belongs to nobody in Go.
func completionPipe() (io.ReadCloser, int, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, 0, fmt.Errorf("making the completion pipe: %w", err)
	}
	defer func() { _ = write.Close() }()

	fd, err := unix.FcntlInt(write.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		_ = read.Close()
		return nil, 0, fmt.Errorf("making the completion pipe: %w", err)
	}
	return read, fd, nil
}

func (e *cgoEngine) Close(deadline time.Duration) {
	C.kbar_close(e.handle, C.uint32_t(min(deadline.Milliseconds(), math.MaxUint32))) //nolint:gosec // bounded
}

func (e *cgoEngine) CheckOptions(options []byte) error {
	text, status := fill(func(buf *C.uint8_t, size C.size_t, needed *C.size_t) C.int32_t {
		return C.kbar_check_options(bytesPtr(options), C.size_t(len(options)), buf, size, needed)
	})
	if status != OK {
		return newError(status, text)
	}
	return nil
}

func (e *cgoEngine) Open(token uint64, options []byte) (uint64, Status) {
	var barrier C.uint64_t
	status := C.kbar_open(e.handle, C.uint64_t(token), bytesPtr(options), C.size_t(len(options)), &barrier)
	return uint64(barrier), Status(status)
}

func (e *cgoEngine) OpenCounter(options []byte) (uint64, error) {
	var counter C.uint64_t
	text, status := fill(func(buf *C.uint8_t, size C.size_t, needed *C.size_t) C.int32_t {
		return C.kbar_open_counter(e.handle, bytesPtr(options), C.size_t(len(options)), &counter, buf, size, needed)
	})
	if status != OK {
		return 0, newError(status, text)
	}
	return uint64(counter), nil
}

func (e *cgoEngine) OpenOperator(options []byte) (uint64, error) {
	var operator C.uint64_t
	text, status := fill(func(buf *C.uint8_t, size C.size_t, needed *C.size_t) C.int32_t {
		return C.kbar_open_operator(e.handle, bytesPtr(options), C.size_t(len(options)), &operator, buf, size, needed)
	})
	if status != OK {
		return 0, newError(status, text)
	}
	return uint64(operator), nil
}

func (e *cgoEngine) CheckGroup(options []byte) error {
	text, status := fill(func(buf *C.uint8_t, size C.size_t, needed *C.size_t) C.int32_t {
		return C.kbar_check_group(bytesPtr(options), C.size_t(len(options)), buf, size, needed)
	})
	if status != OK {
		return newError(status, text)
	}
	return nil
}

func (e *cgoEngine) OpenGroup(options []byte) (uint64, error) {
	var group C.uint64_t
	text, status := fill(func(buf *C.uint8_t, size C.size_t, needed *C.size_t) C.int32_t {
		return C.kbar_open_group(e.handle, bytesPtr(options), C.size_t(len(options)), &group, buf, size, needed)
	})
	if status != OK {
		return 0, newError(status, text)
	}
	return uint64(group), nil
}

func (e *cgoEngine) Submit(request *Request, token uint64, participant, reason string, frame *Frame) Status {
	var stack [256]byte
	text := append(append(stack[:0], participant...), reason...)
	in := C.KbarRequest{
		barrier:         C.uint64_t(request.Handle),
		token:           C.uint64_t(token),
		owner:           C.uint64_t(request.Owner),
		participant_len: C.uint32_t(len(participant)), //nolint:gosec // at most 128, checked before
		phase:           C.uint32_t(request.Phase),
		kind:            C.uint16_t(request.Kind),
		flags:           C.uint16_t(request.Flags),
		store_us:        C.uint32_t(min(micros(request.Limit.Store), math.MaxUint32)), //nolint:gosec // bounded
		wait_us:         C.uint64_t(micros(request.Limit.Wait)),
	}
	var out C.KbarFrame
	status := C.kbar_submit(&in, bytesPtr(text), C.size_t(len(text)), &out)
	*frame = Frame{
		Token: uint64(out.token), Kind: FrameKind(out.kind), Outcome: Outcome(out.outcome), Flags: uint8(out.flags),
		Status: Status(out.status), Phase: uint32(out.phase), Index: uint32(out.index), TimeMicros: uint64(out.time_us),
	}
	return Status(status)
}

// micros is the duration in whole microseconds, not less than it.
func micros(d time.Duration) uint64 {
	return uint64((max(d, 0) + time.Microsecond - 1) / time.Microsecond) // #nosec G115 -- not negative
}

func (e *cgoEngine) Arrivals(barrier uint64, tokens []uint64, arrivals []Arrival) Status {
	return Status(C.kbar_arrivals(C.uint64_t(barrier), (*C.uint64_t)(unsafe.Pointer(unsafe.SliceData(tokens))), // #nosec G103
		C.size_t(len(tokens)), (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(arrivals))))) // #nosec G103 -- that is what cgo is for
}

func (e *cgoEngine) Query(handle, token uint64, question []byte) Status {
	return Status(C.kbar_query(e.handle, C.uint64_t(handle), C.uint64_t(token),
		bytesPtr(question), C.size_t(len(question))))
}

func (e *cgoEngine) Resolved(token uint64, answer []byte) {
	C.kbar_resolved(e.handle, C.uint64_t(token), bytesPtr(answer), C.size_t(len(answer)))
}

func (e *cgoEngine) Cancel(token uint64) {
	C.kbar_cancel(e.handle, C.uint64_t(token))
}

func (e *cgoEngine) BarrierStatus(barrier uint64) ([]byte, Status) {
	return fill(func(buf *C.uint8_t, size C.size_t, needed *C.size_t) C.int32_t {
		return C.kbar_status(C.uint64_t(barrier), buf, size, needed)
	})
}

func (e *cgoEngine) ReleaseInfo(barrier uint64, phase uint32) ([]byte, Status) {
	return fill(func(buf *C.uint8_t, size C.size_t, needed *C.size_t) C.int32_t {
		return C.kbar_release_info(C.uint64_t(barrier), C.uint32_t(phase), buf, size, needed)
	})
}

func (e *cgoEngine) TakeText(token uint64) ([]byte, Status) {
	return fill(func(buf *C.uint8_t, size C.size_t, needed *C.size_t) C.int32_t {
		return C.kbar_take_text(e.handle, C.uint64_t(token), buf, size, needed)
	})
}

func (e *cgoEngine) NextLog() ([]byte, Status) {
	return fill(func(buf *C.uint8_t, size C.size_t, needed *C.size_t) C.int32_t {
		return C.kbar_next_log(e.handle, buf, size, needed)
	})
}

// fill calls an export that copies its answer into a buffer, with a larger one for as long as it says that it needs it.
func fill(call func(buf *C.uint8_t, size C.size_t, needed *C.size_t) C.int32_t) ([]byte, Status) {
	buf := make([]byte, 1024)
	for {
		var needed C.size_t
		status := Status(call(bytesPtr(buf), C.size_t(len(buf)), &needed))
		if status != Buffer {
			return buf[:min(uint64(needed), uint64(len(buf)))], status
		}
		buf = make([]byte, max(uint64(needed), uint64(2*len(buf))))
	}
}

// bytesPtr is what the ABI wants for bytes: any pointer where there are none.
func bytesPtr(b []byte) *C.uint8_t {
	return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(b))) // #nosec G103 -- that is what cgo is for
}
