package core

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inTurn is a frame that is due at an instant.
func inTurn(token uint64, at time.Time) Frame {
	return Frame{Token: token, TimeMicros: uint64(at.UnixMicro())} // #nosec G115 -- after 1970
}

func TestFramesGoInTheOrderOfTheirInstants(t *testing.T) {
	t.Parallel()
	delivered := make(chan Frame, 10)
	turns := newTurns(func(frame Frame) { delivered <- frame })
	// The first is so far ahead that all are there before it comes, however busy the machine is.
	now := time.Now()
	turns.add(inTurn(3, now.Add(2100*time.Millisecond)))
	turns.add(inTurn(4, now.Add(2200*time.Millisecond)))
	turns.add(inTurn(2, now.Add(2*time.Second))) // before the one that the timer was set for
	turns.add(inTurn(1, now.Add(-time.Second)))  // at once
	var order []uint64
	for range 4 {
		frame := <-delivered
		assert.False(t, time.Now().Before(time.UnixMicro(int64(frame.TimeMicros))), "not before its instant") // #nosec G115 -- as above
		order = append(order, frame.Token)
	}
	assert.True(t, slices.IsSorted(order), order)
	turns.end()
}

func TestEachFrameGoesAtItsOwnInstant(t *testing.T) {
	t.Parallel()
	delivered := make(chan Frame, 10)
	turns := newTurns(func(frame Frame) { delivered <- frame })
	defer turns.end()
	turns.add(inTurn(3, time.Now().Add(time.Hour)))
	// Whether or not the timer was set for a later one, and fired for an earlier one.
	for _, token := range []uint64{1, 2} {
		turns.add(inTurn(token, time.Now().Add(50*time.Millisecond)))
		select {
		case frame := <-delivered:
			assert.Equal(t, token, frame.Token)
		case <-time.After(10 * time.Second):
			require.Fail(t, "it waits for a later one")
		}
	}
}

func TestNoFrameGoesAfterTheEnd(t *testing.T) {
	t.Parallel()
	delivered := make(chan Frame, 10)
	turns := newTurns(func(frame Frame) { delivered <- frame })
	turns.add(inTurn(1, time.Now().Add(time.Hour)))
	turns.end()
	turns.add(inTurn(2, time.Now().Add(time.Hour)))
	turns.take()
	assert.Empty(t, delivered)
	assert.Empty(t, turns.queue)
}
