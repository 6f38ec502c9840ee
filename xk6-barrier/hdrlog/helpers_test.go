package hdrlog

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/require"

	"go.k6.io/k6/v2/lib/fsext"
	"go.k6.io/k6/v2/metrics"
	"go.k6.io/k6/v2/output"
)

// begin is when tests begin, not at the start of a second.
var begin = time.UnixMilli(1_700_000_000_400) //nolint:gochecknoglobals // a constant

// world is an output whose clock stands still until a test moves it, and a registry of k6.
type world struct {
	t        *testing.T
	out      *Output
	file     string
	clock    time.Time
	registry *metrics.Registry
	logged   *logtest.Hook
	aborted  []error
}

// newWorld makes an output with these parameters, such as `?tags=a`, in a folder of its own; it is not open yet.
func newWorld(t *testing.T, parameters string) *world {
	t.Helper()
	logger, hook := logtest.NewNullLogger()
	w := &world{
		t:        t,
		file:     filepath.Join(t.TempDir(), "series.hlog"),
		clock:    begin,
		registry: metrics.NewRegistry(),
		logged:   hook,
	}
	out, err := newOutput(output.Params{
		ConfigArgument: w.file + parameters,
		Logger:         logger,
		FS:             fsext.NewOsFs(),
	}, func() time.Time { return w.clock })
	require.NoError(t, err)
	w.out = out
	w.out.SetTestRunStopCallback(func(err error) { w.aborted = append(w.aborted, err) })
	return w
}

func openWorld(t *testing.T, parameters string) *world {
	t.Helper()
	w := newWorld(t, parameters)
	require.NoError(t, w.out.open())
	return w
}

func (w *world) metric(name string, typ metrics.MetricType, contains ...metrics.ValueType) *metrics.Metric {
	w.t.Helper()
	m, err := w.registry.NewMetric(name, typ, contains...)
	require.NoError(w.t, err)
	return m
}

// add hands over a sample, taken so long after the beginning.
func (w *world) add(m *metrics.Metric, after time.Duration, value float64, tags ...string) {
	set := w.registry.RootTagSet()
	for i := 0; i < len(tags); i += 2 {
		set = set.With(tags[i], tags[i+1])
	}
	w.out.AddMetricSamples([]metrics.SampleContainer{metrics.Sample{
		TimeSeries: metrics.TimeSeries{Metric: m, Tags: set}, Time: begin.Add(after), Value: value,
	}})
}

// pass is a flush so long after the beginning.
func (w *world) pass(after time.Duration) {
	w.clock = begin.Add(after)
	w.out.flush(w.out.due())
}

// end ends the output in order, and reads its files.
func (w *world) end() *record {
	w.t.Helper()
	require.NoError(w.t, w.out.finish())
	return w.read()
}

// record is what files hold.
type record struct {
	t       *testing.T
	head    map[string]any
	index   map[string]map[string]any // by number of the series, as the log has it
	values  []map[string]any
	last    map[string]any // the end; nil where there is none
	numbers []string       // of the index, as they came

	log        string
	histograms []*hdrhistogram.Histogram
}

func (w *world) read() *record {
	w.t.Helper()
	return readRecord(w.t, w.file)
}

func readRecord(t *testing.T, file string) *record {
	t.Helper()
	r := &record{t: t, index: make(map[string]map[string]any)}
	text, err := os.ReadFile(file + ".jsonl")
	require.NoError(t, err)
	for at, line := range strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n") {
		object := make(map[string]any)
		require.NoError(t, json.Unmarshal([]byte(line), &object), line)
		require.Nil(t, r.last, "nothing comes after the end")
		switch {
		case at == 0:
			r.head = object
		case object["end"] != nil:
			r.last = object
		case object["series"] != nil:
			number := jsonOf(t, object["series"])
			require.NotContains(t, r.index, number)
			r.index[number] = object
			r.numbers = append(r.numbers, number)
		default:
			require.Contains(t, r.index, jsonOf(t, object["s"]), "a series is in the index before its first use")
			r.values = append(r.values, object)
		}
	}
	log, err := os.ReadFile(file)
	require.NoError(t, err)
	r.log = string(log)
	reader := hdrhistogram.NewHistogramLogReader(bytes.NewReader(log))
	for {
		h, err := reader.NextIntervalHistogram()
		if err == io.EOF || h == nil {
			break
		}
		require.NoError(t, err)
		require.Contains(t, r.index, h.Tag())
		r.histograms = append(r.histograms, h)
	}
	return r
}

// of is the number of the series of a metric whose tags are these and no others.
func (r *record) of(metric string, tags ...string) string {
	r.t.Helper()
	wanted := make(map[string]any)
	for i := 0; i < len(tags); i += 2 {
		wanted[tags[i]] = tags[i+1]
	}
	for number, line := range r.index {
		if line["metric"] == metric && jsonOf(r.t, line["tags"]) == jsonOf(r.t, wanted) {
			return number
		}
	}
	require.Failf(r.t, "no such series", "%s %v in %v", metric, tags, r.index)
	return ""
}

// lines are the values of a series, as they came, without the number of the series.
func (r *record) lines(number string) []map[string]any {
	var lines []map[string]any
	for _, line := range r.values {
		if jsonOf(r.t, line["s"]) == number {
			copied := make(map[string]any)
			for name, value := range line {
				if name != "s" {
					copied[name] = value
				}
			}
			lines = append(lines, copied)
		}
	}
	return lines
}

// histogramsOf are those of a series, as they came.
func (r *record) histogramsOf(number string) []*hdrhistogram.Histogram {
	var of []*hdrhistogram.Histogram
	for _, h := range r.histograms {
		if h.Tag() == number {
			of = append(of, h)
		}
	}
	return of
}

func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}

// warnings are the messages that k6's log shows.
func (w *world) warnings() []string {
	var messages []string
	for _, entry := range w.logged.AllEntries() {
		if entry.Level <= logrus.WarnLevel {
			messages = append(messages, entry.Message)
		}
	}
	return messages
}
