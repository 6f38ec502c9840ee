package hdrlog

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"go.k6.io/k6/v2/metrics"
)

const second = 1_700_000_000_000 // the start of the first interval, in ms since the epoch

func TestValuesAreReadBackAsTheyWere(t *testing.T) {
	t.Parallel()
	w := openWorld(t, "")
	duration := w.metric("duration", metrics.Trend, metrics.Time)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test
	written := make(map[string][]float64)
	for range 5000 {
		at := random.IntN(3)
		scenario := []string{"chat", "health"}[random.IntN(2)]
		value := math.Exp(random.NormFloat64()) * 100 // ms, as skewed as durations are
		w.add(duration, time.Duration(at)*time.Second+time.Duration(random.IntN(500))*time.Millisecond, value, "scenario", scenario, "url", fmt.Sprint(random.IntN(9)))
		key := fmt.Sprint(scenario, at)
		written[key] = append(written[key], value)
	}
	r := w.end()

	assert.Equal(t, map[string]any{
		"format": "k6-barrier series", "version": 1.0, "baseMs": float64(second), "intervalMs": 1000.0, "tags": []any{"scenario"},
	}, r.head)
	assert.Equal(t, map[string]any{"end": true, "samples": 5000.0, "lateSamples": 0.0, "droppedSeries": 0.0}, r.last)
	require.Len(t, r.index, 2)
	for _, scenario := range []string{"chat", "health"} {
		number := r.of("duration", "scenario", scenario)
		lines, histograms := r.lines(number), r.histogramsOf(number)
		require.Len(t, lines, 3)
		require.Len(t, histograms, 3)
		for at := range 3 {
			values := slices.Sorted(slices.Values(written[fmt.Sprint(scenario, at)]))
			line, h := lines[at], histograms[at]
			sum := 0.0
			for _, value := range values {
				sum += value
			}
			assert.Equal(t, float64(second+at*1000), line["t"])
			assert.Equal(t, float64(len(values)), line["n"])
			assert.InEpsilon(t, sum, line["sum"], 1e-12) // sorted, they add up in another order
			assert.Equal(t, values[0], line["min"])
			assert.Equal(t, values[len(values)-1], line["max"])
			assert.NotContains(t, line, "neg")

			assert.Equal(t, int64(second+at*1000), h.StartTimeMs())
			assert.Equal(t, int64(second+at*1000+1000), h.EndTimeMs())
			assert.Equal(t, int64(len(values)), h.TotalCount())
			for _, p := range []float64{1, 50, 95, 99, 100} {
				rank := max(int(math.Round(p/100*float64(len(values)))), 1) // as the library has it
				assert.InEpsilon(t, values[rank-1], float64(h.ValueAtQuantile(p))/1000, 0.0011, "p%v", p)
			}
		}
	}
}

func TestTheLogIsOneOfHdrHistogram(t *testing.T) {
	t.Parallel()
	w := openWorld(t, "?interval=250ms")
	w.add(w.metric("duration", metrics.Trend, metrics.Time), 300*time.Millisecond, 12.5)
	lines := strings.Split(w.end().log, "\n")
	require.Len(t, lines, 6)
	assert.Equal(t, []string{
		"#[Histogram log format version 1.3]",
		"#[BaseTime: 1700000000.250 (seconds since epoch)]",
		"#[StartTime: 1700000000.250 (seconds since epoch), 2023-11-14T22:13:20.250Z]",
		`"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"`,
	}, lines[:4])
	assert.Regexp(t, `^Tag=0,0\.250,0\.250,12\.500,HISTF[A-Za-z0-9+/=]+$`, lines[4])
	assert.Empty(t, lines[5])
}

func TestEachKindHasItsOwnFigures(t *testing.T) {
	t.Parallel()
	w := openWorld(t, "")
	bytes := w.metric("sizes", metrics.Trend, metrics.Data)
	plain := w.metric("tokens", metrics.Trend)
	count := w.metric("reqs", metrics.Counter)
	rate := w.metric("errors", metrics.Rate)
	gauge := w.metric("users", metrics.Gauge)
	for _, value := range []float64{0.5, 2, 7, 3} {
		w.add(bytes, 0, value*1000)
		w.add(plain, 0, value)
		w.add(count, 0, value)
		w.add(gauge, 0, value)
	}
	for _, value := range []float64{1, 0, 0, 0.5} { // k6 counts as true what is not 0
		w.add(rate, 0, value)
	}
	r := w.end()

	index := func(metric string) map[string]any {
		line := r.index[r.of(metric)]
		delete(line, "series")
		return line
	}
	none := map[string]any{}
	assert.Equal(t, map[string]any{"metric": "sizes", "type": "trend", "contains": "data", "tags": none, "scale": 1.0}, index("sizes"))
	assert.Equal(t, map[string]any{"metric": "tokens", "type": "trend", "contains": "default", "tags": none, "scale": 1000.0}, index("tokens"))
	assert.Equal(t, map[string]any{"metric": "reqs", "type": "counter", "contains": "default", "tags": none}, index("reqs"))
	assert.Equal(t, map[string]any{"metric": "errors", "type": "rate", "contains": "default", "tags": none}, index("errors"))
	assert.Equal(t, map[string]any{"metric": "users", "type": "gauge", "contains": "default", "tags": none}, index("users"))

	at := float64(second)
	figures := func(metric string) []map[string]any { return r.lines(r.of(metric)) }
	assert.Equal(t, []map[string]any{{"t": at, "n": 4.0, "sum": 12500.0, "min": 500.0, "max": 7000.0}}, figures("sizes"))
	assert.Equal(t, []map[string]any{{"t": at, "n": 4.0, "sum": 12.5, "min": 0.5, "max": 7.0}}, figures("tokens"))
	assert.Equal(t, []map[string]any{{"t": at, "n": 4.0, "sum": 12.5}}, figures("reqs"))
	assert.Equal(t, []map[string]any{{"t": at, "n": 4.0, "sum": 2.0}}, figures("errors"))
	assert.Equal(t, []map[string]any{{"t": at, "n": 4.0, "sum": 12.5, "min": 0.5, "max": 7.0, "last": 3.0}}, figures("users"))

	require.Len(t, r.histograms, 2)
	assert.Equal(t, int64(500), r.histogramsOf(r.of("sizes"))[0].Min())
	assert.Equal(t, int64(500), r.histogramsOf(r.of("tokens"))[0].Min())
}

func TestASampleIsOfTheIntervalOfItsOwnTime(t *testing.T) {
	t.Parallel()
	w := openWorld(t, "")
	duration := w.metric("duration", metrics.Trend, metrics.Time)
	w.add(duration, 1600*time.Millisecond, 3) // 2.000 s
	w.add(duration, 1599*time.Millisecond, 2) // 1.999 s
	w.add(duration, -5*time.Second, 1)        // the clock was set back: there is no interval before the first
	r := w.end()
	var starts []any
	for _, line := range r.lines(r.of("duration")) {
		starts = append(starts, line["t"])
	}
	assert.Equal(t, []any{second + 0.0, second + 1000.0, second + 2000.0}, starts)
}

func TestALateSampleMakesAnotherLine(t *testing.T) {
	t.Parallel()
	w := openWorld(t, "")
	duration := w.metric("duration", metrics.Trend, metrics.Time)
	w.add(duration, 0, 10)
	w.pass(3500 * time.Millisecond) // 3.9 s: the first interval has ended 2.9 s ago
	require.Empty(t, w.read().values)
	w.add(duration, 100*time.Millisecond, 20) // so this one is in time
	w.pass(3600 * time.Millisecond)
	require.Len(t, w.read().values, 1)
	w.add(duration, 200*time.Millisecond, 30)
	w.add(duration, 300*time.Millisecond, 40)
	w.add(duration, 4*time.Second, 50)
	w.pass(4600 * time.Millisecond)
	r := w.end()

	at := float64(second)
	assert.Equal(t, []map[string]any{
		{"t": at, "n": 2.0, "sum": 30.0, "min": 10.0, "max": 20.0},
		{"t": at, "n": 2.0, "sum": 70.0, "min": 30.0, "max": 40.0},
		{"t": at + 4000, "n": 1.0, "sum": 50.0, "min": 50.0, "max": 50.0},
	}, r.lines(r.of("duration")))
	require.Len(t, r.histograms, 3)
	assert.Equal(t, r.histograms[0].StartTimeMs(), r.histograms[1].StartTimeMs())
	r.histograms[0].Merge(r.histograms[1])
	assert.Equal(t, int64(4), r.histograms[0].TotalCount())
	assert.Equal(t, map[string]any{"end": true, "samples": 5.0, "lateSamples": 2.0, "droppedSeries": 0.0}, r.last)
}

func TestValuesThatAHistogramCannotHoldAreTold(t *testing.T) {
	t.Parallel()
	w := openWorld(t, "")
	skew := w.metric("skew", metrics.Trend, metrics.Time)
	for _, value := range []float64{-5, -0.25, 3} {
		w.add(skew, 0, value)
	}
	below := w.metric("below", metrics.Trend, metrics.Time)
	w.add(below, 0, -2)
	day := w.metric("day", metrics.Trend, metrics.Time)
	w.add(day, 0, 86_400_000)
	w.add(day, 0, 1)
	vast := w.metric("vast", metrics.Trend)
	w.add(vast, 0, 1e300)
	w.add(vast, 0, 1e300)
	for range 2 {
		w.add(vast, time.Second, -math.MaxFloat64)
	}
	odd := w.metric("odd", metrics.Trend)
	w.add(odd, 0, math.Inf(1))
	w.add(odd, 0, math.NaN())
	r := w.end()

	at := float64(second)
	assert.Equal(t, []map[string]any{{"t": at, "n": 3.0, "sum": -2.25, "min": -5.0, "max": 3.0, "neg": 2.0}}, r.lines(r.of("skew")))
	h := r.histogramsOf(r.of("skew"))[0]
	assert.Equal(t, []int64{3, 0, 3000}, []int64{h.TotalCount(), h.ValueAtQuantile(66), h.ValueAtQuantile(100) / 1000 * 1000})
	assert.Equal(t, []map[string]any{{"t": at, "n": 1.0, "sum": -2.0, "min": -2.0, "max": -2.0, "neg": 1.0}}, r.lines(r.of("below")))
	assert.Equal(t, int64(1), r.histogramsOf(r.of("below"))[0].TotalCount())

	assert.InEpsilon(t, 86_400_000_000, r.histogramsOf(r.of("day"))[0].Max(), 0.001)
	assert.Equal(t, []map[string]any{
		{"t": at, "n": 2.0, "sum": 2e300, "min": 1e300, "max": 1e300},
		{"t": at + 1000, "n": 2.0, "sum": -math.MaxFloat64, "min": -math.MaxFloat64, "max": -math.MaxFloat64, "neg": 2.0},
	}, r.lines(r.of("vast")))
	assert.InEpsilon(t, int64(1)<<53, r.histogramsOf(r.of("vast"))[0].Max(), 0.001)

	for _, line := range r.index {
		assert.NotEqual(t, "odd", line["metric"])
	}
	assert.Equal(t, 10.0, r.last["samples"])
	assert.Equal(t, []string{"a sample of odd is +Inf: samples that are no finite numbers are left out"}, w.warnings())
}

func TestAHistogramIsEmptyWhenTheNextOneBegins(t *testing.T) {
	t.Parallel()
	w := openWorld(t, "")
	duration := w.metric("duration", metrics.Trend, metrics.Time)
	for at, value := range []float64{5, 1e8, 7, 2e8, 9} { // in turn above an hour
		w.add(duration, time.Duration(at)*time.Second, value)
	}
	for _, h := range w.end().histograms {
		assert.Equal(t, int64(1), h.TotalCount())
	}
}

func TestOnlyChosenTagsMakeSeries(t *testing.T) {
	t.Parallel()
	w := openWorld(t, "?tags=scenario,status")
	reqs := w.metric("reqs", metrics.Counter)
	w.add(reqs, 0, 1, "scenario", "chat", "status", "200", "url", "/a")
	w.add(reqs, 0, 1, "url", "/b", "status", "200", "scenario", "chat")
	w.add(reqs, 0, 1, "scenario", "chat", "url", "/a")
	w.add(reqs, 0, 1, "scenario", "chat", "status", "")
	w.add(reqs, 0, 1, "url", "/c")
	w.add(reqs, 0, 1, "status", "chat")
	w.add(reqs, 0, 1, "scenario", "a", "status", "b-")
	w.add(reqs, 0, 1, "scenario", "ab")
	r := w.end()
	assert.Len(t, r.index, 7)
	n := func(tags ...string) any { return r.lines(r.of("reqs", tags...))[0]["n"] }
	assert.Equal(t, 2.0, n("scenario", "chat", "status", "200"))
	assert.Equal(t, 1.0, n("scenario", "chat"))
	assert.Equal(t, 1.0, n("scenario", "chat", "status", ""))
	assert.Equal(t, 1.0, n("status", "chat"))
	assert.Equal(t, 1.0, n("scenario", "a", "status", "b-"))
	assert.Equal(t, 1.0, n("scenario", "ab"))
	assert.Equal(t, 1.0, n())

	w = openWorld(t, "?tags=")
	reqs = w.metric("reqs", metrics.Counter)
	w.add(reqs, 0, 1, "scenario", "chat")
	w.add(reqs, 0, 1, "scenario", "health")
	r = w.end()
	assert.Equal(t, 2.0, r.lines(r.of("reqs"))[0]["n"])
	assert.Equal(t, []any{}, r.head["tags"])
}

func TestSeriesThatAreTooManyShareOne(t *testing.T) {
	t.Parallel()
	w := openWorld(t, "?tags=user&series=3")
	reqs := w.metric("reqs", metrics.Counter)
	wait := w.metric("wait", metrics.Trend, metrics.Time)
	for round := range 2 {
		for user := range 6 {
			w.add(reqs, time.Duration(round)*time.Second, 1, "user", fmt.Sprint(user))
		}
	}
	w.add(wait, 0, 7, "user", "0")
	r := w.end()
	assert.Len(t, r.index, 5)
	assert.Len(t, r.lines(r.of("reqs", "user", "2")), 2)
	assert.Equal(t, 3.0, r.lines(r.of("reqs", "overflow", "true"))[0]["n"])
	assert.Equal(t, 1.0, r.lines(r.of("wait", "overflow", "true"))[0]["n"])
	assert.Equal(t, map[string]any{"end": true, "samples": 13.0, "lateSamples": 0.0, "droppedSeries": 4.0}, r.last)
	require.Len(t, w.warnings(), 1)
	assert.Contains(t, w.warnings()[0], `there are more than 3 series: samples of further sets of the tags ["user"]`)
}

func TestTagsThatNobodyChoseNeedNoMemory(t *testing.T) {
	t.Parallel()
	w := openWorld(t, "?series=2")
	reqs := w.metric("reqs", metrics.Counter)
	for at := range 5000 {
		w.add(reqs, 0, 1, "scenario", "chat", "url", fmt.Sprint(at))
		w.pass(0)
	}
	assert.LessOrEqual(t, len(w.out.index.cache), 1008)
	r := w.end()
	assert.Equal(t, 5000.0, r.lines(r.of("reqs", "scenario", "chat"))[0]["n"])
	assert.Len(t, r.index, 1)
}

func TestWhatIsCutOffCanBeReadAndIsKnown(t *testing.T) {
	t.Parallel()
	w := openWorld(t, "")
	duration := w.metric("duration", metrics.Trend, metrics.Time)
	for at := range 10 {
		w.add(duration, time.Duration(at)*time.Second, 5)
	}
	w.pass(8 * time.Second)
	r := w.read() // as if k6 were killed now
	assert.Nil(t, r.last)
	assert.Len(t, r.lines(r.of("duration")), 5, "all that ended three seconds ago")
	assert.Len(t, r.histograms, 5)
	w.end()
}

// The one test with the flusher: samples come while it writes.
func TestSamplesComeWhileItWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "?interval=100ms")
	w.out.now = time.Now
	require.NoError(t, w.out.Start())
	duration := w.metric("duration", metrics.Trend, metrics.Time)
	tags := w.registry.RootTagSet()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 300 {
				sample := metrics.Sample{
					TimeSeries: metrics.TimeSeries{Metric: duration, Tags: tags.With("scenario", fmt.Sprint(i%3))}, Time: time.Now(), Value: 1,
				}
				w.out.AddMetricSamples([]metrics.SampleContainer{sample, metrics.Samples{sample, sample}})
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	all.Wait()
	require.NoError(t, w.out.Stop())
	r := w.read()
	assert.Equal(t, 3600.0, r.last["samples"])
	n := 0.0
	for _, line := range r.values {
		n += line["n"].(float64) //nolint:forcetypeassert // a test
	}
	assert.Equal(t, 3600.0, n)
	assert.Empty(t, w.warnings())
	assert.Empty(t, w.aborted)
}
