package barrier

import (
	"maps"
	"math"
	"slices"

	"github.com/grafana/sobek"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
	"go.k6.io/k6/v2/metrics"
)

// What calls return is ordinary: a script may freeze it, post it and return it from setup(), where k6 takes it out of
// JavaScript. No object that is filled later can do all that.

func outcomeValue(rt *sobek.Runtime, answer core.Answer) sobek.Value {
	data := script.NewData(rt).Put("outcome", answer.Outcome.String())
	if answer.Outcome == core.OutcomeFailed && answer.Reason != "" {
		data.Put("reason", answer.Reason)
	}
	if answer.Outcome == core.OutcomeArrived {
		data.Put("index", answer.Index)
	}
	return data.Put("phase", answer.Phase).Object
}

// waitResult is what a wait returns. To make one takes longer than to wake a user. So a user who is about to sleep has it
// made before, as it will most likely be, and when all wake at once, each is only told what is different.
type waitResult struct {
	data, failed script.Data
	told         *waited // nil before the first time
}

// newWaitResult is the result of a wait that ends as expected.
func newWaitResult(rt *sobek.Runtime, expected waited) *waitResult {
	r := &waitResult{data: script.NewData(rt), failed: script.NewData(rt)}
	r.tell(expected)
	return r
}

// tell says how the wait ended. A property keeps the place that it was given first.
func (r *waitResult) tell(w waited) sobek.Value {
	told, is := r.told, w.release
	if told == nil {
		told = &waited{release: &core.Release{}}
	}
	was := told.release
	tell(r, "reason", w.reason(), told.reason())
	if w.outcome != core.OutcomeNone {
		tell(r, "outcome", w.outcome.String(), told.outcome.String())
	}
	tell(r, "arrived", is.Arrived, was.Arrived)
	if r.told == nil {
		r.data.Put("failed", r.failed.Object)
	}
	if len(is.Failed) > 0 {
		putCounts(r.failed, is.Failed)
	}
	tell(r, "failedTotal", is.FailedTotal, was.FailedTotal)
	tell(r, "left", is.Left, was.Left)
	tell(r, "parties", is.Parties, was.Parties)
	tell(r, "phase", is.Phase, was.Phase)
	tell(r, "waitedMs", metrics.D(w.lasted), metrics.D(told.lasted))
	tell(r, "releasedAt", is.ReleasedAt, was.ReleasedAt)
	if r.told == nil || is.ServerReleasedAt != was.ServerReleasedAt {
		r.data.Put("serverReleasedAt", orNull(is.ServerReleasedAt))
	}
	if w.turn != nil {
		r.data.Put("dueAt", w.turn.dueAt())
	}
	r.told = &w
	return r.data.Object
}

func tell[T comparable](r *waitResult, name string, value, known T) {
	if r.told == nil || value != known {
		r.data.Put(name, value)
	}
}

func statusValue(rt *sobek.Runtime, s *core.BarrierStatus) sobek.Value {
	var broken any = sobek.Null()
	if b := s.Broken; b != nil {
		broken = script.NewData(rt).Put("reason", b.Reason).Put("message", b.Message).Put("phase", b.Phase).Put("at", b.At).Object
	}
	released := make([]any, len(s.Released))
	for i, phase := range s.Released {
		released[i] = phase
	}
	return script.NewData(rt).
		Put("name", s.Name).
		Put("runId", s.RunID).
		Put("store", s.Store).
		Put("parties", s.Parties).
		Put("phase", s.Phase).
		Put("arrived", s.Arrived).
		Put("failed", countsValue(rt, s.Failed)).
		Put("failedTotal", s.FailedTotal).
		Put("left", s.Left).
		Put("late", s.Late).
		Put("missing", s.Missing()).
		Put("released", rt.NewArray(released...)).
		Put("releasedAt", orNull(s.ReleasedAt)).
		Put("serverReleasedAt", orNull(s.ServerReleasedAt)).
		Put("receivedMs", orNull(s.ReceivedMs)).
		Put("firstWakeMs", orNull(s.FirstWakeMs)).
		Put("broken", broken).
		Put("processes", s.Processes).
		Put("connected", s.Connected).
		Put("clockBoundMs", orNull(s.ClockBoundMs)).
		Put("pushLatencyMs", orNull(s.PushLatencyMs)).Object
}

// countsValue is an object of numbers in the order of their names.
func countsValue(rt *sobek.Runtime, counts map[string]uint64) *sobek.Object {
	return putCounts(script.NewData(rt), counts).Object
}

func putCounts(data script.Data, counts map[string]uint64) script.Data {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		data.Put(name, counts[name])
	}
	return data
}

// orNull is a number, or null where there is none.
func orNull(f *float64) any {
	if f == nil || math.IsNaN(*f) {
		return sobek.Null()
	}
	return *f
}
