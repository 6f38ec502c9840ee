package barrier

import (
	"slices"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/metrics"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

const (
	allowedRate    = "a whole number of users per second from 1 to 1000000, without spread beside it"
	allowedSeed    = "a whole number from 0 to 4294967295"
	allowedInstant = `milliseconds since the epoch, or a string such as "2027-01-01T00:00:00Z"`
	maxRate        = 1_000_000
	maxSeed        = 1<<32 - 1
)

// spread is how a release lets its users go one after the other, as the core takes it.
type spread struct {
	Pace  pace   `json:"pace"`
	Shape string `json:"shape,omitempty"`
	Seed  *int64 `json:"seed,omitempty"`
}

type pace struct {
	SpanMs int64 `json:"spanMs,omitempty"`
	Rate   int64 `json:"rate,omitempty"`
}

// release reads how many are waited for, and how they go.
func (o *options) release(option string) (*quorum, *spread) {
	object, is := o.peek(option).(*sobek.Object)
	if !is || object.ClassName() != "Object" {
		return o.quorum(option, allowedRelease), nil
	}
	o.get(option)
	within := &options{rt: o.rt, object: object, prefix: option + "."}
	enough := within.quorum("quorum", allowedQuorum)
	s := within.spread()
	if err := within.done(); err != nil && o.err == nil {
		o.err = within.err
	}
	return enough, s
}

// spread reads its options; nil where all go at once.
func (o *options) spread() *spread {
	span := milliseconds(o.duration("spread", allowedDuration, time.Nanosecond))
	rate := o.optionalWhole("rate")
	s := &spread{Shape: o.choice("shape", "even", "poisson"), Seed: o.optionalWhole("seed")}
	if rate != nil && (*rate < 1 || *rate > maxRate || span != nil) {
		o.fail("rate", o.peek("rate"), allowedRate)
	}
	if s.Seed != nil && (*s.Seed < 0 || *s.Seed > maxSeed) {
		o.fail("seed", o.peek("seed"), allowedSeed)
	}
	switch {
	case span != nil:
		s.Pace.SpanMs = *span
	case rate != nil:
		s.Pace.Rate = *rate
	default:
		for _, needs := range []string{"shape", "seed"} {
			if v := o.peek(needs); v != nil {
				o.fail(needs, v, "only beside spread or rate")
			}
		}
		return nil
	}
	return s
}

// instant is a moment in milliseconds since the epoch.
func (o *options) instant(option string) *int64 {
	v := o.get(option)
	if v == nil {
		return nil
	}
	if n, ok := wholeNumber(v); ok && n > 0 {
		return &n
	}
	if s, ok := v.Export().(string); ok {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			ms := t.UnixMilli()
			return &ms
		}
	}
	o.fail(option, v, allowedInstant)
	return nil
}

// inTurn says whether a call with this outcome goes at an instant of its own.
func (c *call) inTurn(outcome core.Outcome) bool {
	return c.config.Spread != nil && outcome == core.OutcomeArrived
}

// awaitTurn parks the goroutine until the own instant of its arrival has come.
func (c *call) awaitTurn(s *openBarrier, phase uint32, d deadlines) (jsValue, error) {
	var result *waitResult
	if c.here != nil {
		result = newWaitResult(c.here, waited{release: s.expected(phase), outcome: core.OutcomeArrived})
	}
	s.joinProgress()
	defer s.leaveProgress()
	at := c.at
	for at == 0 {
		if c.stay.IsOver() {
			answer, stay, err := s.WaitInTurn(phase, c.participant, d.limit())
			if err != nil {
				return nil, err
			}
			if c.stay, at = stay, answer.At; stay.IsOver() {
				if at == 0 {
					err = c.ended(s, phase)
				}
				if err != nil {
					return nil, err
				}
				break
			}
		}
		var err error
		if at, err = c.sleepForTurn(s, phase, d); err != nil {
			return nil, err
		}
	}
	if at > 0 {
		if err := c.sleepUntil(at); err != nil {
			return nil, err
		}
		c.turn = &turn{at: instantOf(at), woke: time.Now()}
	}
	return c.released(s, phase, core.OutcomeArrived, time.Time{}, result)
}

// ended is for a wait that is over without an instant: the gate tells why. It is nil where a release opened it.
func (c *call) ended(s *openBarrier, phase uint32) error {
	select {
	case <-s.Gate(phase):
		return c.passed(s, phase)
	case <-c.ctx.Done():
		return core.ErrEnded
	}
}

// sleepForTurn returns with the instant once it has come, or with 0 where the time was over and the store has another look.
func (c *call) sleepForTurn(s *openBarrier, phase uint32, d deadlines) (uint64, error) {
	ending := s.Ending()
	for {
		select {
		case frame := <-c.stay.Frame():
			answer, err := c.stay.Answer(frame)
			if core.HasStatus(err, core.Timeout) && answer.Outcome == core.OutcomeNone {
				c.settle(c.arrived)
				return 0, c.expire(s, phase, s.Gate(phase), d)
			}
			return answer.At, c.otherOf(answer, err)
		case <-ending:
			if !s.IsReleased(phase) {
				return 0, c.opened(s, phase)
			}
			ending = nil // its instant is decided, and told or about to be
		case <-s.Lost():
			c.settle(c.arrived)
			c.stay.End()
			return 0, s.LostError()
		case <-c.ctx.Done():
			return 0, c.interrupted()
		}
	}
}

// sleepUntil is for an instant that was told before it has come.
func (c *call) sleepUntil(at uint64) error {
	ahead := time.Until(instantOf(at))
	if ahead <= 0 {
		return nil
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.ctx.Done():
		return core.ErrEnded
	}
}

func instantOf(micros uint64) time.Time {
	return time.UnixMicro(int64(micros)) // #nosec G115 -- an instant that the core made
}

// turn is when a user woke that had an instant of its own, and when it should have.
type turn struct{ at, woke time.Time }

// off is how far apart the two are.
func (t *turn) off() time.Duration { return t.woke.Round(0).Sub(t.at).Abs() }

// dueAt is the intended instant in milliseconds since the epoch.
func (t *turn) dueAt() float64 { return float64(t.at.UnixMicro()) / 1000 }

// turnsLeft is how long the users of the newest release still go one after the other; with a random rate about so long.
func (s *openBarrier) turnsLeft() time.Duration {
	if s.config.Spread == nil {
		return 0
	}
	status, err := s.Status()
	if err != nil || status.ReleasedAt == nil || len(status.Released) == 0 {
		return 0
	}
	release := s.Release(slices.Max(status.Released))
	if release == nil {
		return 0
	}
	pace := s.config.Spread.Pace
	arrived := float64(max(release.Arrived, 1))
	span := float64(pace.SpanMs) / 1000
	if pace.Rate > 0 {
		span = arrived / float64(pace.Rate)
	}
	// The first goes at once.
	last := time.Duration(span * (arrived - 1) / arrived * float64(time.Second))
	return time.Until(time.UnixMicro(int64(release.ReleasedAt * 1000)).Add(last))
}

// pushTurn records how long a wait took, and how far from its own instant its user woke.
func (c *call) pushTurn(phase uint32, waited time.Duration) {
	if c.started.After(c.turn.at) { // who comes after its instant did not sleep until then
		c.pushWait(phase, waited, nil)
		return
	}
	m := c.inst.metrics
	c.push(c.reading(m.waitDuration, metrics.D(waited), phase), c.reading(m.spreadSkewDuration, metrics.D(c.turn.off()), phase))
}
