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

func waitedValue(rt *sobek.Runtime, w waited) sobek.Value {
	data := script.NewData(rt)
	if w.outcome == core.OutcomeLate {
		data.Put("reason", w.outcome.String())
	} else {
		data.Put("reason", w.release.Reason)
	}
	if w.outcome != core.OutcomeNone {
		data.Put("outcome", w.outcome.String())
	}
	return data.
		Put("arrived", w.release.Arrived).
		Put("failed", countsValue(rt, w.release.Failed)).
		Put("failedTotal", w.release.FailedTotal).
		Put("left", w.release.Left).
		Put("parties", w.release.Parties).
		Put("phase", w.release.Phase).
		Put("waitedMs", metrics.D(w.lasted)).
		Put("releasedAt", w.release.ReleasedAt).
		Put("serverReleasedAt", orNull(w.release.ServerReleasedAt)).Object
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
		Put("broken", broken).
		Put("processes", s.Processes).
		Put("connected", s.Connected).
		Put("clockBoundMs", orNull(s.ClockBoundMs)).
		Put("pushLatencyMs", orNull(s.PushLatencyMs)).Object
}

// countsValue is an object of numbers in the order of their names.
func countsValue(rt *sobek.Runtime, counts map[string]uint64) *sobek.Object {
	data := script.NewData(rt)
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		data.Put(name, counts[name])
	}
	return data.Object
}

// orNull is a number, or null where there is none.
func orNull(f *float64) any {
	if f == nil || math.IsNaN(*f) {
		return sobek.Null()
	}
	return *f
}
