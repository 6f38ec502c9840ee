package core

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFramesSurviveAnyCut(t *testing.T) {
	t.Parallel()
	var sent []Frame
	var stream bytes.Buffer
	for i := range uint64(5000) {
		f := Frame{
			Token: i + 1, Kind: FrameDone, Outcome: OutcomeLate, Flags: First, Status: Store, Phase: 1 << 31,
			Index: 7, TimeMicros: 1 << 63,
		}
		sent = append(sent, f)
		stream.Write(encodeFrame(f))
	}
	for name, cut := range map[string]func(io.Reader) io.Reader{
		"whole":             func(r io.Reader) io.Reader { return r },
		"bytes":             iotest.OneByteReader,
		"half":              iotest.HalfReader,
		"data with the end": iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []Frame
			err := readFrames(cut(bytes.NewReader(stream.Bytes())), func(f Frame) { got = append(got, f) })
			require.ErrorIs(t, err, errPipeClosed)
			assert.Equal(t, sent, got)
		})
	}
}

func TestEndInsideAFrameIsNoOrderlyEnd(t *testing.T) {
	t.Parallel()
	err := readFrames(bytes.NewReader(make([]byte, FrameSize+5)), func(Frame) {})
	require.EqualError(t, err, "the completion pipe ended inside a frame (5 of 32 bytes)")
}

func TestReadErrorIsReported(t *testing.T) {
	t.Parallel()
	broken := errors.New("bad file descriptor")
	err := readFrames(iotest.ErrReader(broken), func(Frame) {})
	require.ErrorIs(t, err, broken)
}

func FuzzDecodeFrame(f *testing.F) {
	f.Add(encodeFrame(Frame{Token: 1, Kind: FrameRelease, Status: Panic}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < FrameSize {
			return
		}
		assert.Equal(t, b[:FrameSize], encodeFrame(decodeFrame(b)))
	})
}
