package barrier

import (
	"errors"
	"time"

	"go.k6.io/k6/v2/metrics"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// barrierMetrics are the metrics of the module. All carry the tag barrier, and those of barriers the phase as
// metadata.
type barrierMetrics struct {
	waitDuration *metrics.Metric // from the call to its return, released or timed out
	arrivals     *metrics.Metric // first acknowledgements in the ledger
	failures     *metrics.Metric // the same, tag reason
	skewDuration *metrics.Metric // from the release instant to the wake of this virtual user
	timeouts     *metrics.Metric
	// how far from its own instant a virtual user woke that a release let go in its turn
	spreadSkewDuration *metrics.Metric

	groupWaitDuration *metrics.Metric // of a call of join, from its begin to its return, in a group or timed out
	groups            *metrics.Metric // each counted once, by the process of its first member
	groupTimeouts     *metrics.Metric
}

func registerMetrics(registry *metrics.Registry) (*barrierMetrics, error) {
	var failed []error
	register := func(name string, kind metrics.MetricType, contains ...metrics.ValueType) *metrics.Metric {
		m, err := registry.NewMetric(name, kind, contains...)
		failed = append(failed, err)
		return m
	}
	m := &barrierMetrics{
		waitDuration: register("barrier_wait_duration", metrics.Trend, metrics.Time),
		arrivals:     register("barrier_arrivals", metrics.Counter),
		failures:     register("barrier_failures", metrics.Counter),
		skewDuration: register("barrier_skew_duration", metrics.Trend, metrics.Time),
		timeouts:     register("barrier_timeouts", metrics.Counter),

		spreadSkewDuration: register("barrier_spread_skew_duration", metrics.Trend, metrics.Time),
		groupWaitDuration:  register("barrier_group_wait_duration", metrics.Trend, metrics.Time),
		groups:             register("barrier_groups", metrics.Counter),
		groupTimeouts:      register("barrier_group_timeouts", metrics.Counter),
	}
	return m, errors.Join(failed...)
}

// reading notes down a value of one of the metrics.
func (c *call) reading(metric *metrics.Metric, value float64, phase uint32) reading {
	return reading{metric: metric, tags: c.tags, barrier: c.config.Name, phase: phase, at: time.Now(), value: value}
}

// because adds the reason of a failure.
func (r reading) because(reason string) reading {
	r.reason = reason
	return r
}

// push hands readings on to k6, unless the iteration is over.
func (c *call) push(readings ...reading) {
	if c.ctx.Err() == nil {
		c.inst.root.outbox.add(c.state.Samples, readings...)
	}
}

// pushZeros makes the counters exist, once per barrier and process. k6 leaves a metric without samples out of the
// summary, and would judge a threshold on it as if it were 0.
func (c *call) pushZeros(s *openBarrier) {
	s.zeros.Do(func() {
		m := c.inst.metrics
		zeros := []reading{c.reading(m.arrivals, 0, s.OpenPhase), c.reading(m.timeouts, 0, s.OpenPhase)}
		if len(c.config.Reasons) == 0 {
			zeros = append(zeros, c.reading(m.failures, 0, s.OpenPhase))
		}
		for _, reason := range c.config.Reasons {
			zeros = append(zeros, c.reading(m.failures, 0, s.OpenPhase).because(reason))
		}
		c.push(zeros...)
	})
}

// pushOutcome counts an outcome that the ledger had not known before. It stands, whatever became of the iteration since.
func (c *call) pushOutcome(answer core.Answer, reason string) {
	if counted, is := c.outcomeReading(answer, reason); is {
		c.count(counted)
	}
}

// outcomeReading is the count of an outcome, if it counts.
func (c *call) outcomeReading(answer core.Answer, reason string) (counted reading, is bool) {
	switch {
	case !answer.First:
	case answer.Outcome == core.OutcomeArrived:
		return c.reading(c.inst.metrics.arrivals, 1, answer.Phase), true
	case answer.Outcome == core.OutcomeFailed:
		return c.reading(c.inst.metrics.failures, 1, answer.Phase).because(reason), true
	}
	return reading{}, false
}

// count hands on a reading of an iteration that may be over. Until the outbox closes, k6 takes samples.
func (c *call) count(r reading) {
	c.inst.root.outbox.count(c.ctx, c.state.Samples, r)
}

// pushWait records how long a wait took, and how late its virtual user woke where it really slept.
func (c *call) pushWait(phase uint32, waited time.Duration, skew *time.Duration) {
	wait := c.reading(c.inst.metrics.waitDuration, metrics.D(waited), phase)
	if skew == nil {
		c.push(wait)
		return
	}
	c.push(wait, c.reading(c.inst.metrics.skewDuration, metrics.D(*skew), phase))
}

// pushTimeout records a wait that timed out, with its whole length: leaving it out would flatter the others.
func (c *call) pushTimeout(phase uint32, waited time.Duration) {
	c.push(c.reading(c.inst.metrics.waitDuration, metrics.D(waited), phase), c.reading(c.inst.metrics.timeouts, 1, phase))
}
