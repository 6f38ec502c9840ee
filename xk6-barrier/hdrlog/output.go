// Package hdrlog is the k6 output `--out hdrlog=FILE`: what each metric was, interval by interval.
//
// FILE is an interval log of HdrHistogram (format 1.3, encoding V2 compressed): one line for each interval and trend series that
// had samples in it, tagged with the number of the series. FILE.jsonl says which series these are, and has exact counts, sums
// and extremes of all of them, also of counters, rates and gauges. docs/how-to/keep-values-over-time.md describes both.
//
// A series is a metric with one set of the chosen tags. A sample belongs to the interval of its own time. Intervals are
// written some seconds after their end; a sample that comes later makes another line for the same series and interval.
//
// # Memory
//
// It does not grow with the length of a run. A series needs about 300 bytes and the texts of its tags, and there are at most
// as many as the parameter series says, and one more for each metric. While an interval is open, which is for its own length and
// some 4 s, each series that had samples in it needs about 200 bytes, and each sample of a trend 8 bytes: k6 itself keeps as
// much of each of them until the end. Histograms are made one after another in the same 400 KB.
package hdrlog

import (
	"fmt"
	"math"
	"time"

	"github.com/sirupsen/logrus"

	"go.k6.io/k6/v2/metrics"
	"go.k6.io/k6/v2/output"
)

// Name is what --out calls it.
const Name = "hdrlog"

const (
	// flushPeriod is how often samples are taken in and lines are written.
	flushPeriod = time.Second
	// hold is how long an interval stays open after its end. Samples come in once they are whole, most within
	// milliseconds; those of a pause of the process come within it.
	hold = 3 * time.Second
)

var (
	_ output.Output          = &Output{}
	_ output.WithTestRunStop = &Output{}
)

// Output is one output of a run. AddMetricSamples may be called while it writes; all else happens in one goroutine, that of its
// flusher, and after that one's end in the caller's of Stop.
type Output struct {
	output.SampleBuffer

	config *config
	params output.Params
	logger logrus.FieldLogger
	now    func() time.Time
	abort  func(error) // ends the test run

	flusher   *output.PeriodicFlusher
	files     *files
	index     *index
	intervals *intervals

	samples, late int
	notFinite     bool // a value was none
	failed        bool // nothing more is written
}

// New reads the parameters.
//
// The error names a parameter that cannot be used, what it is and what it may be.
func New(params output.Params) (output.Output, error) {
	return newOutput(params, time.Now)
}

func newOutput(params output.Params, now func() time.Time) (*Output, error) {
	c, err := readConfig(params)
	if err != nil {
		return nil, err
	}
	return &Output{
		config: c,
		params: params,
		logger: params.Logger.WithFields(logrus.Fields{"output": Name, "filename": c.file}),
		now:    now,
		abort:  func(error) {},
	}, nil
}

// Description is what k6 shows at the start of a run.
func (o *Output) Description() string {
	return fmt.Sprintf("%s (%s)", Name, o.config.file)
}

// SetTestRunStopCallback tells how to end the test run.
func (o *Output) SetTestRunStopCallback(stop func(error)) {
	o.abort = stop
}

// Start makes both files, in place of those that are there. Where that cannot be done, k6 does not start the test.
func (o *Output) Start() error {
	if err := o.open(); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	flusher, err := output.NewPeriodicFlusher(flushPeriod, func() { o.flush(o.due()) })
	if err != nil {
		return err
	}
	o.flusher = flusher
	return nil
}

func (o *Output) open() error {
	first := o.intervalOf(o.now())
	f, err := create(o.params.FS, o.config, first*o.config.interval.Milliseconds())
	if err != nil {
		return err
	}
	o.files = f
	o.intervals = newIntervals(first)
	o.index = newIndex(o.config.tags, o.config.series, func() {
		o.logger.Warnf("there are more than %d series: samples of further sets of the tags %q are in one series per metric "+
			"with the tag overflow; fewer tags (tags=) or a larger number (series=) keep them apart", o.config.series, o.config.tags)
	})
	return nil
}

// Stop writes what is left and the last line, which says that nothing is missing. The error is one that was not told yet.
func (o *Output) Stop() error {
	o.flusher.Stop()
	return o.finish()
}

func (o *Output) finish() error {
	failedBefore := o.failed
	o.flush(math.MaxInt64)
	var err error
	if !o.failed {
		o.files.putEnd(o.samples, o.late, len(o.index.refused))
		err = o.files.flush()
	}
	if closeErr := o.files.close(); err == nil && !failedBefore {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	return nil
}

// due is the first interval that stays open.
func (o *Output) due() int64 {
	return o.intervalOf(o.now().Add(-hold))
}

func (o *Output) intervalOf(t time.Time) int64 {
	return t.UnixMilli() / o.config.interval.Milliseconds()
}

// flush takes in what came, and writes all intervals before the end.
//
// A failure ends the test run, and with it k6, which then ends with an error: a load without its record is for nothing. It
// is told once.
func (o *Output) flush(end int64) {
	for _, container := range o.GetBufferedSamples() {
		if sample, ok := container.(metrics.Sample); ok {
			o.take(&sample) // the most frequent kind, which would make a slice of itself
			continue
		}
		samples := container.GetSamples()
		for i := range samples {
			o.take(&samples[i])
		}
	}
	cells := o.intervals.take(end)
	if o.failed {
		return
	}
	if err := o.write(cells); err != nil {
		o.failed = true
		o.abort(fmt.Errorf("%s: %w; the files are not complete", Name, err))
	}
}

func (o *Output) take(sample *metrics.Sample) {
	if math.IsNaN(sample.Value) || math.IsInf(sample.Value, 0) {
		if !o.notFinite {
			o.notFinite = true
			o.logger.Warnf("a sample of %s is %v: samples that are no finite numbers are left out", sample.Metric.Name, sample.Value)
		}
		return
	}
	o.samples++
	if o.intervals.add(o.index.of(sample.TimeSeries), o.intervalOf(sample.Time), sample.Value) {
		o.late++
	}
}

func (o *Output) write(cells []*cell) error {
	for _, c := range cells {
		if err := o.files.putCell(c); err != nil {
			return err
		}
	}
	return o.files.flush()
}
