package barrier

import (
	"errors"
	"strconv"
	"time"

	"go.k6.io/k6/v2/metrics"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// barrierMetrics are the metrics of the module. All carry the tag barrier; the phase is metadata, because it grows
// without bound.
type barrierMetrics struct {
	waitDuration *metrics.Metric // from the call to its return, released or timed out
	arrivals     *metrics.Metric // first acknowledgements in the ledger
	failures     *metrics.Metric // the same, tag reason
	skewDuration *metrics.Metric // from the release instant to the wake of this virtual user
	timeouts     *metrics.Metric
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
	}
	return m, errors.Join(failed...)
}

// sample makes a sample with the tags that the virtual user had when the call was made.
func (c *call) sample(metric *metrics.Metric, value float64, phase uint32, tags ...string) metrics.Sample {
	current := c.tags.Clone()
	current.SetTag("barrier", c.config.Name)
	for i := 0; i+1 < len(tags); i += 2 {
		current.SetTag(tags[i], tags[i+1])
	}
	current.SetMetadata("phase", strconv.FormatUint(uint64(phase), 10))
	return metrics.Sample{
		TimeSeries: metrics.TimeSeries{Metric: metric, Tags: current.Tags},
		Time:       time.Now(),
		Metadata:   current.Metadata,
		Value:      value,
	}
}

// pushZeros makes the counters exist, once per barrier and process. k6 leaves a metric without samples out of the
// summary, and would judge a threshold on it as if it were 0.
func (c *call) pushZeros(s *shared) {
	s.zeros.Do(func() {
		m := c.inst.metrics
		zeros := metrics.Samples{
			c.sample(m.arrivals, 0, s.OpenPhase),
			c.sample(m.timeouts, 0, s.OpenPhase),
		}
		if len(c.config.Reasons) == 0 {
			zeros = append(zeros, c.sample(m.failures, 0, s.OpenPhase))
		}
		for _, reason := range c.config.Reasons {
			zeros = append(zeros, c.sample(m.failures, 0, s.OpenPhase, "reason", reason))
		}
		c.push(zeros)
	})
}

// pushOutcome counts an outcome that the ledger had not known before.
func (c *call) pushOutcome(answer core.Answer, reason string) {
	if !answer.First {
		return
	}
	switch answer.Outcome {
	case core.OutcomeArrived:
		c.push(c.sample(c.inst.metrics.arrivals, 1, answer.Phase))
	case core.OutcomeFailed:
		c.push(c.sample(c.inst.metrics.failures, 1, answer.Phase, "reason", reason))
	}
}

// pushWait records how long a wait took, and how late its virtual user woke where it really slept.
func (c *call) pushWait(phase uint32, waited time.Duration, skew *time.Duration) {
	samples := metrics.Samples{c.sample(c.inst.metrics.waitDuration, metrics.D(waited), phase)}
	if skew != nil {
		samples = append(samples, c.sample(c.inst.metrics.skewDuration, metrics.D(*skew), phase))
	}
	c.push(samples)
}

// pushTimeout records a wait that timed out, with its whole length: leaving it out would flatter the others.
func (c *call) pushTimeout(phase uint32, waited time.Duration) {
	c.push(metrics.Samples{
		c.sample(c.inst.metrics.waitDuration, metrics.D(waited), phase),
		c.sample(c.inst.metrics.timeouts, 1, phase),
	})
}
