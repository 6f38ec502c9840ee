package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// FrameSize is the size of a frame on the pipe, in bytes.
const FrameSize = 32

// FrameKind says what a [Frame] reports.
type FrameKind uint16

// The kinds of frames.
const (
	FrameDone      FrameKind = 1 // the call of Token is complete
	FrameRelease   FrameKind = 2 // Phase of the barrier Token, and all before it, is released
	FrameBroken    FrameKind = 3 // the barrier Token is broken for good
	FrameLog       FrameKind = 4 // log lines wait
	FrameResolve   FrameKind = 5 // the text of Token is a host and port whose address is wanted
	FrameForgotten FrameKind = 6 // the barrier Token is gone, and nothing of it comes any more
	FrameOwed      FrameKind = 7 // the release that follows is not the answer of the call of Token: its own comes later
)

// First marks the first acknowledgement of an outcome; a repeat that only returned the standing one lacks it.
const First uint8 = 1

// Shared marks a release of which other processes, perhaps on this machine, wake at the same instant.
const Shared uint8 = 2

// Acknowledged marks the arrival of a call that waits as known to the store.
const Acknowledged uint8 = 4

// Frame is one completion, as it lies on the pipe: fixed in size, without a pointer, in the machine's byte order.
type Frame struct {
	Token      uint64
	Kind       FrameKind
	Outcome    Outcome
	Flags      uint8
	Status     Status
	Phase      uint32
	Index      uint32
	TimeMicros uint64
}

// decodeFrame reads the first FrameSize bytes of b.
func decodeFrame(b []byte) Frame {
	order := binary.NativeEndian
	return Frame{
		Token:      order.Uint64(b[0:]),
		Kind:       FrameKind(order.Uint16(b[8:])),
		Outcome:    Outcome(b[10]),
		Flags:      b[11],
		Status:     Status(order.Uint32(b[12:])), // #nosec G115 -- the same 32 bits
		Phase:      order.Uint32(b[16:]),
		Index:      order.Uint32(b[20:]),
		TimeMicros: order.Uint64(b[24:]),
	}
}

// errPipeClosed is the end of the pipe that a close brings about.
var errPipeClosed = errors.New("the core closed the completion pipe")

// readFrames reads the pipe until it ends and hands each frame to handle, which must not block. A frame that arrives in
// parts waits for its rest. It returns why the pipe ended, never nil.
func readFrames(pipe io.Reader, handle func(Frame)) error {
	buf := make([]byte, 2048*FrameSize)
	have := 0
	for {
		n, err := pipe.Read(buf[have:])
		have += n
		whole := have - have%FrameSize
		for at := 0; at < whole; at += FrameSize {
			handle(decodeFrame(buf[at:]))
		}
		have = copy(buf, buf[whole:have])

		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && have == 0:
			return errPipeClosed
		case errors.Is(err, io.EOF):
			return fmt.Errorf("the completion pipe ended inside a frame (%d of %d bytes)", have, FrameSize)
		default:
			return fmt.Errorf("reading the completion pipe: %w", err)
		}
	}
}
