package core

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const handle = 77

// openBarrier opens a barrier whose open is answered at once.
func openBarrier(t *testing.T, e *scriptedEngine) *Barrier {
	t.Helper()
	e.onOpen = func(token uint64) (uint64, Status) {
		e.send(t, Frame{Token: token, Kind: FrameDone})
		return handle, Pending
	}
	b, err := e.client(t, func(LogLine) {}).Open(t.Context(), []byte("{}"))
	require.NoError(t, err)
	return b
}

func TestAnswerComesOverThePipe(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	e.onSubmit = func(token uint64, _ *Frame) Status {
		e.send(t, Frame{Token: token, Kind: FrameDone, Outcome: OutcomeArrived, Flags: First, Index: 3, Phase: 1})
		return Pending
	}
	answer, err := b.Do(t.Context(), Request{Kind: Arrive}, "1", "")
	require.NoError(t, err)
	assert.Equal(t, Answer{Outcome: OutcomeArrived, First: true, Index: 3, Phase: 1}, answer)
	assert.Zero(t, b.client.tokens.len())
}

func TestAnswerAtOnceNeedsNoFrame(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	e.onSubmit = func(token uint64, frame *Frame) Status {
		e.setText(token, `{"reason":"login"}`)
		*frame = Frame{Outcome: OutcomeFailed, Index: 18}
		return OK
	}
	answer, err := b.Do(t.Context(), Request{Kind: Fail}, "1", "sse")
	require.NoError(t, err)
	assert.Equal(t, "login", answer.Reason, "the reason that stands")
	assert.Zero(t, b.client.tokens.len())
}

func TestErrorStatusBringsItsText(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	for name, submit := range map[string]func(uint64, *Frame) Status{
		"at once": func(token uint64, _ *Frame) Status {
			e.setText(token, `{"message":"no answer","pending":true}`)
			return Store
		},
		"by frame": func(token uint64, _ *Frame) Status {
			e.setText(token, `{"message":"no answer","pending":true}`)
			e.send(t, Frame{Token: token, Kind: FrameDone, Status: Store})
			return Pending
		},
	} {
		t.Run(name, func(t *testing.T) {
			e.onSubmit = submit
			_, err := b.Do(t.Context(), Request{Kind: Arrive}, "1", "")
			var failed *Error
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, &Error{Status: Store, Message: "no answer", Pending: true}, failed)
		})
	}
}

func TestErrorWithoutTextStillSaysWhatItIs(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	for status, text := range map[Status]string{
		Busy:   "too many calls are under way at once",
		Panic:  "the core met a bug of its own",
		Closed: "the barrier's engine is closed",
		-99:    "the core answered KBAR_-99",
	} {
		e.onSubmit = func(uint64, *Frame) Status { return status }
		_, err := b.Do(t.Context(), Request{Kind: Arrive}, "1", "")
		require.EqualError(t, err, text)
	}
}

func TestEndOfContextForgetsTheToken(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	var token uint64
	e.onSubmit = func(submitted uint64, _ *Frame) Status {
		token = submitted
		cancel()
		return Pending
	}
	_, err := b.Do(ctx, Request{Kind: Arrive}, "1", "")
	require.ErrorIs(t, err, ErrEnded)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, []uint64{token}, e.cancelled)
	assert.Zero(t, b.client.tokens.len())

	// Its completion may still come. It is dropped, and the next call is not disturbed by it.
	e.onSubmit = func(next uint64, _ *Frame) Status {
		e.send(t, Frame{Token: token, Kind: FrameDone, Phase: 1}, Frame{Token: next, Kind: FrameDone, Phase: 2})
		return Pending
	}
	answer, err := b.Do(t.Context(), Request{Kind: Arrive}, "1", "")
	require.NoError(t, err)
	assert.EqualValues(t, 2, answer.Phase)
	assert.EqualValues(t, 1, b.client.strays.Load())
}

func TestLosingTheCoreFailsAllLoudly(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	const callers = 100
	var submitted, returned sync.WaitGroup
	submitted.Add(callers)
	e.onSubmit = func(uint64, *Frame) Status { submitted.Done(); return Pending }
	for range callers {
		returned.Go(func() {
			_, err := b.Do(t.Context(), Request{Kind: Arrive}, "1", "")
			assert.EqualError(t, err, "the core is lost: the core closed the completion pipe")
		})
	}
	submitted.Wait()
	require.NoError(t, e.write.Close())
	returned.Wait()
	<-b.Lost()
	require.Error(t, b.LostError())
}

func TestCloseIsNoLoss(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	b.client.Close(time.Second)
	b.client.Close(time.Second)
	assert.EqualError(t, b.LostError(), "the barrier's engine is closed")
}

func TestReleaseIsOneFrameForAll(t *testing.T) {
	for name, flags := range map[string]uint8{"one process": 0, "several processes": Shared} {
		t.Run(name, func(t *testing.T) {
			e := newScriptedEngine(t)
			b := openBarrier(t, e)
			var ready, woken sync.WaitGroup
			const waiters = 2000
			ready.Add(waiters)
			for i := range waiters {
				woken.Go(func() {
					gate := b.Gate(uint32(i % 3)) //nolint:gosec // small
					ready.Done()
					<-gate
				})
			}
			ready.Wait()
			later := b.Gate(3)
			e.send(t, Frame{Token: handle, Kind: FrameRelease, Phase: 2, Flags: flags})
			woken.Wait()
			select {
			case <-later:
				t.Error("phase 3 is not released")
			default:
			}
			<-b.Gate(1)
			assert.True(t, b.IsReleased(2))
			assert.False(t, b.IsReleased(3))
		})
	}
}

// A release that several processes share is not a rush: they may run on one machine.
func TestSharedReleaseLetsOneWaiterGoFirst(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	first := b.Gate(0)
	assert.NotEqual(t, first, b.Gate(0), "it stands alone")
}

// A waiter has one thing to wait for, whatever ends its wait.
func TestGatesOpenForWhateverEndsAWait(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	gate := b.Gate(0)
	e.send(t, Frame{Token: handle, Kind: FrameBroken})
	<-gate
	<-b.Broken()
	<-b.Gate(1)
	assert.False(t, b.IsReleased(0))

	e = newScriptedEngine(t)
	b = openBarrier(t, e)
	gate = b.Gate(0)
	b.client.Close(time.Second)
	<-gate
	<-b.Gate(1)
	require.Error(t, b.LostError())
	assert.False(t, b.IsReleased(0))
}

func TestReleaseBeforeItsBarrierIsKnown(t *testing.T) {
	e := newScriptedEngine(t)
	e.onOpen = func(token uint64) (uint64, Status) {
		e.send(t, Frame{Token: handle, Kind: FrameRelease}, Frame{Token: handle, Kind: FrameBroken},
			Frame{Token: token, Kind: FrameDone})
		return handle, Pending
	}
	b, err := e.client(t, func(LogLine) {}).Open(t.Context(), nil)
	require.NoError(t, err)
	<-b.Gate(0)
	<-b.Broken()
}

func TestReleaseBeforeThisProcessListened(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	e.releases[4] = `{"phase":4,"reason":"all","failed":{"login":3}}`
	gate := b.Gate(4)
	select {
	case <-gate:
		t.Error("what comes before the news of the release has not been read")
	default:
	}
	e.send(t, Frame{Token: handle, Kind: FrameRelease, Phase: 4})
	<-gate
	assert.Equal(t, map[string]uint64{"login": 3}, b.Release(4).Failed)
	assert.Nil(t, b.Release(5))
}

func TestLogLinesReachTheLogger(t *testing.T) {
	e := newScriptedEngine(t)
	lines := make(chan LogLine, 3)
	c := e.client(t, func(l LogLine) { lines <- l })
	e.mu.Lock()
	e.logs = []string{`{"level":"warn","message":"reconnected","after":2}`, `no JSON`}
	e.mu.Unlock()
	e.send(t, Frame{Kind: FrameLog}, Frame{Kind: FrameLog})
	assert.Equal(t, LogLine{Level: "warn", Message: "reconnected", Fields: map[string]any{"after": 2.0}}, <-lines)
	assert.Equal(t, "no JSON", (<-lines).Message)
	c.Close(time.Second)
}

func TestQueryDecodesItsAnswer(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	e.onQuery = func(token uint64) Status {
		e.setText(token, `{"count":2,"ids":["4","9"]}`)
		e.send(t, Frame{Token: token, Kind: FrameDone, Index: 27})
		return Pending
	}
	missing, err := b.Missing(t.Context(), 10)
	require.NoError(t, err)
	assert.Equal(t, &MissingIDs{Count: 2, IDs: []string{"4", "9"}}, missing)
}

// A token that is given up while its frame is on the way must neither hang nor hand the frame to the next one.
func TestGivingUpRacesWithTheReader(t *testing.T) {
	tokens := newTokens()
	for range 10_000 {
		token, w := tokens.reserve()
		var both sync.WaitGroup
		both.Go(func() { tokens.deliver(Frame{Token: token}) })
		both.Go(func() { tokens.forget(token, w) })
		both.Wait()
		next, w := tokens.reserve()
		require.Empty(t, w.frame)
		tokens.forget(next, w)
	}
	assert.Zero(t, tokens.len())
}

func TestStartFailureIsReported(t *testing.T) {
	_, err := NewClient(failingStart{}, nil, nil)
	require.ErrorIs(t, err, errNoStart)
}

var errNoStart = errors.New("no threads left")

type failingStart struct{ Engine }

func (failingStart) Start() (io.ReadCloser, error) { return nil, errNoStart }

// The core asks what a name stands for; the answer, or why there is none, goes back under the question's token.
func TestNamesAreResolvedForTheCore(t *testing.T) {
	t.Parallel()
	e := newScriptedEngine(t)
	e.resolve = func(hostPort string) (string, error) {
		if hostPort == "known:1" {
			return "127.0.0.1:2", nil
		}
		return "", errors.New(`no "` + hostPort + `"`)
	}
	e.client(t, nil)
	const question = uint64(1) << 63
	for host, answer := range map[string]string{
		"known:1":   `{"addr":"127.0.0.1:2"}`,
		"unknown:1": `{"error":"no \"unknown:1\""}`,
	} {
		e.setText(question, host)
		e.send(t, Frame{Token: question, Kind: FrameResolve})
		assert.Equal(t, fmt.Sprintf("%d %s", question, answer), <-e.resolved)
	}
}

func TestCountsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	counts, err := readCounts([]byte(`{"counts":[0,12,18446744073709551615]}`))
	require.NoError(t, err)
	assert.Equal(t, []uint64{0, 12, 18446744073709551615}, counts)
	for _, text := range []string{``, `{}`, `{"counts":[1,2`, `{"counts":[]}`, `{"counts":[1,-2]}`, `{"counts":[1, 2]}`, `{"counts":["a"]}`} {
		_, err := readCounts([]byte(text))
		require.Error(t, err, text)
	}
}

// Who waits for a release hears of nothing else: no frame of its own, no second wake.
func TestStayEndsAtTheGateAlone(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	e.onSubmit = func(_ uint64, frame *Frame) Status {
		*frame = Frame{Outcome: OutcomeArrived, Flags: First | Acknowledged, Phase: 1}
		return Pending
	}
	answer, stay, err := b.ArriveAndWait(Request{Kind: Arrive}, "1")
	require.NoError(t, err)
	assert.Equal(t, Answer{Outcome: OutcomeArrived, First: true, Phase: 1, Acknowledged: true}, answer)
	gate := b.Gate(1)
	e.send(t, Frame{Token: handle, Kind: FrameRelease, Phase: 1})
	<-gate
	assert.False(t, stay.IsOwed())
	stay.End()
	assert.True(t, stay.IsOver())
	assert.Zero(t, b.client.tokens.len())
	assert.Empty(t, e.cancelled)
}

// The release may be quicker than the acknowledgement. Whoever is owed one knows when the gate opens.
func TestReleaseThatOvertakesAnAnswer(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	e.onSubmit = func(_ uint64, frame *Frame) Status {
		*frame = Frame{Outcome: OutcomeArrived, Flags: First}
		return Pending
	}
	_, stay, err := b.ArriveAndWait(Request{Kind: Arrive}, "1")
	require.NoError(t, err)
	gate := b.Gate(0)
	e.send(t, Frame{Token: stay.Token(), Kind: FrameOwed}, Frame{Token: handle, Kind: FrameRelease})
	<-gate
	require.True(t, stay.IsOwed())
	assert.Empty(t, stay.Frame())
	e.setText(stay.Token(), `{"message":"it belongs to another process"}`)
	e.send(t, Frame{Token: stay.Token(), Kind: FrameDone, Status: Conflict})
	_, err = stay.Answer(<-stay.Frame())
	require.EqualError(t, err, "it belongs to another process")
	assert.Zero(t, b.client.tokens.len())

	// The waiter is used again, without what was owed.
	_, next, err := b.ArriveAndWait(Request{Kind: Arrive}, "2")
	require.NoError(t, err)
	assert.False(t, next.IsOwed())
	next.Cancel()
	assert.Len(t, e.cancelled, 1)

	e.send(t, Frame{Token: 12345, Kind: FrameOwed}, Frame{Token: handle, Kind: FrameBroken})
	<-b.Broken()
	assert.EqualValues(t, 1, b.client.strays.Load(), "nobody waits with that token")
}

func TestStoreInMemoryTakesNoTokenItDoesNotUse(t *testing.T) {
	e := newScriptedEngine(t)
	b := openBarrier(t, e)
	b.AtOnce = true
	e.onSubmit = func(token uint64, frame *Frame) Status {
		assert.Zero(t, b.client.tokens.len())
		e.setText(token, `{"reason":"login"}`)
		*frame = Frame{Outcome: OutcomeFailed, Index: 18}
		return OK
	}
	answer, err := b.Do(t.Context(), Request{Kind: Arrive}, "1", "")
	require.NoError(t, err)
	assert.Equal(t, "login", answer.Reason)
	e.onSubmit = func(token uint64, _ *Frame) Status {
		e.setText(token, `{"message":"another VU"}`)
		return Conflict
	}
	_, err = b.Do(t.Context(), Request{Kind: Arrive}, "1", "")
	require.EqualError(t, err, "another VU")
}
