package core

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// inTurn is a frame that is due so long from now.
func inTurn(token uint64, ahead time.Duration) Frame {
	return Frame{Token: token, TimeMicros: uint64(time.Now().Add(ahead).UnixMicro())} // #nosec G115 -- after 1970
}

func TestFramesGoInTheOrderOfTheirInstants(t *testing.T) {
	t.Parallel()
	delivered := make(chan Frame, 10)
	turns := newTurns(func(frame Frame) { delivered <- frame })
	turns.add(inTurn(3, 60*time.Millisecond))
	turns.add(inTurn(4, 90*time.Millisecond))
	turns.add(inTurn(2, 30*time.Millisecond)) // before the one that the timer was set for
	turns.add(inTurn(1, -time.Second))        // at once
	var order []uint64
	for range 4 {
		frame := <-delivered
		assert.False(t, time.Now().Before(time.UnixMicro(int64(frame.TimeMicros))), "not before its instant") // #nosec G115 -- as above
		order = append(order, frame.Token)
	}
	assert.True(t, slices.IsSorted(order), order)
	turns.end()
}

func TestNoFrameGoesAfterTheEnd(t *testing.T) {
	t.Parallel()
	delivered := make(chan Frame, 10)
	turns := newTurns(func(frame Frame) { delivered <- frame })
	turns.add(inTurn(1, time.Hour))
	turns.end()
	turns.add(inTurn(2, time.Hour))
	turns.take()
	assert.Empty(t, delivered)
	assert.Empty(t, turns.queue)
}
