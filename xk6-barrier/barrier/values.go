package barrier

import (
	"math"
	"slices"
	"time"

	"github.com/grafana/sobek"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/lazy"
)

// field is a property of a JavaScript object.
type field struct {
	name  string
	value any
}

// object makes plain data: an ordinary object that a script may print, copy and change.
func object(rt *sobek.Runtime, fields ...field) *sobek.Object {
	o := rt.NewObject()
	for _, f := range fields {
		_ = o.Set(f.name, f.value) // a fresh object refuses nothing
	}
	return o
}

// lazily makes plain data whose properties come to be when a script first looks at them. Most scripts never look at what
// their wait returned, and ten thousand who are released at once would otherwise fill ten thousand tables first.
func lazily(rt *sobek.Runtime, fields func() []field) *sobek.Object {
	return lazy.Object(rt, func() []lazy.Field {
		made := fields()
		table := make([]lazy.Field, len(made))
		for at, f := range made {
			table[at] = lazy.Field{Name: f.name, Value: f.value}
		}
		return table
	})
}

func outcomeValue(rt *sobek.Runtime, answer core.Answer) sobek.Value {
	return lazily(rt, func() []field {
		fields := []field{{"outcome", answer.Outcome.String()}}
		if answer.Outcome == core.OutcomeFailed && answer.Reason != "" {
			fields = append(fields, field{"reason", answer.Reason})
		}
		if answer.Outcome == core.OutcomeArrived {
			fields = append(fields, field{"index", answer.Index})
		}
		return append(fields, field{"phase", answer.Phase})
	})
}

func waitedValue(rt *sobek.Runtime, w waited) sobek.Value {
	return lazily(rt, func() []field {
		reason := w.release.Reason
		if w.outcome == core.OutcomeLate {
			reason = w.outcome.String()
		}
		fields := []field{{"reason", reason}}
		if w.outcome != core.OutcomeNone {
			fields = append(fields, field{"outcome", w.outcome.String()})
		}
		return append(fields,
			field{"arrived", w.release.Arrived},
			field{"failed", countsValue(rt, w.release.Failed)},
			field{"failedTotal", w.release.FailedTotal},
			field{"left", w.release.Left},
			field{"parties", w.release.Parties},
			field{"phase", w.release.Phase},
			field{"waitedMs", float64(w.lasted) / float64(time.Millisecond)},
			field{"releasedAt", w.release.ReleasedAt},
			field{"serverReleasedAt", orNull(w.release.ServerReleasedAt)},
		)
	})
}

func statusValue(rt *sobek.Runtime, s *core.BarrierStatus) sobek.Value {
	var broken any = sobek.Null()
	if b := s.Broken; b != nil {
		broken = object(rt,
			field{"reason", b.Reason}, field{"message", b.Message}, field{"phase", b.Phase}, field{"at", b.At})
	}
	released := make([]any, len(s.Released))
	for i, phase := range s.Released {
		released[i] = phase
	}
	return object(rt,
		field{"name", s.Name},
		field{"runId", s.RunID},
		field{"store", s.Store},
		field{"parties", s.Parties},
		field{"phase", s.Phase},
		field{"arrived", s.Arrived},
		field{"failed", countsValue(rt, s.Failed)},
		field{"failedTotal", s.FailedTotal},
		field{"left", s.Left},
		field{"late", s.Late},
		field{"missing", s.Missing()},
		field{"released", rt.NewArray(released...)},
		field{"releasedAt", orNull(s.ReleasedAt)},
		field{"serverReleasedAt", orNull(s.ServerReleasedAt)},
		field{"broken", broken},
		field{"processes", s.Processes},
		field{"connected", s.Connected},
		field{"clockBoundMs", orNull(s.ClockBoundMs)},
		field{"pushLatencyMs", orNull(s.PushLatencyMs)},
	)
}

// countsValue is an object of numbers in the order of their names.
func countsValue(rt *sobek.Runtime, counts map[string]uint64) *sobek.Object {
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	slices.Sort(names)
	o := rt.NewObject()
	for _, name := range names {
		_ = o.Set(name, counts[name])
	}
	return o
}

// orNull is a number, or null where there is none.
func orNull(f *float64) any {
	if f == nil || math.IsNaN(*f) {
		return sobek.Null()
	}
	return *f
}
