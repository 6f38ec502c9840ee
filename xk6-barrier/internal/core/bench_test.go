package core

import (
	"bytes"
	"testing"
)

// BenchmarkReadFrames is what the one reader of the pipe does for each completion, here without a pipe.
func BenchmarkReadFrames(b *testing.B) {
	const frames = 10_000
	stream := bytes.Repeat(encodeFrame(Frame{Token: 1, Kind: FrameDone, Outcome: OutcomeArrived, Flags: First}), frames)
	b.SetBytes(FrameSize)
	b.ReportAllocs()
	left := b.N
	for left > 0 {
		n := min(left, frames)
		read := 0
		_ = readFrames(bytes.NewReader(stream[:n*FrameSize]), func(Frame) { read++ })
		if read != n {
			b.Fatalf("%d of %d frames were read", read, n)
		}
		left -= n
	}
}
