package hdrlog

import (
	"fmt"
	"io"
	"math"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"go.k6.io/k6/v2/lib/fsext"
	"go.k6.io/k6/v2/metrics"
	"go.k6.io/k6/v2/output"
)

// What a second of a test costs: 5,000 requests with the samples that k6 takes of each.
func BenchmarkSecondOfRequests(b *testing.B) {
	benchmarkSecond(b, 9, 4, 1, 5000)
}

// What a line of a histogram costs: a thousand series with ten samples each.
func BenchmarkSecondOfManySeries(b *testing.B) {
	benchmarkSecond(b, 1, 0, 1000, 10)
}

// benchmarkSecond takes in and writes samples of so many trends and counters, of so many values of a tag.
func benchmarkSecond(b *testing.B, trends, counters, values, samples int) {
	b.Helper()
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	clock := begin
	out, err := newOutput(output.Params{
		ConfigArgument: b.TempDir() + "/series.hlog", Logger: logger, FS: fsext.NewOsFs(),
	}, func() time.Time { return clock })
	if err != nil {
		b.Fatal(err)
	}
	if err := out.open(); err != nil {
		b.Fatal(err)
	}
	registry := metrics.NewRegistry()
	var all []*metrics.Metric
	for i := range trends {
		all = append(all, registry.MustNewMetric(fmt.Sprint("trend_", i), metrics.Trend, metrics.Time))
	}
	for i := range counters {
		all = append(all, registry.MustNewMetric(fmt.Sprint("counter_", i), metrics.Counter))
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		var containers []metrics.SampleContainer
		for i := range samples {
			for value := range values {
				tags := registry.RootTagSet().With("scenario", fmt.Sprint(value)).With("url", fmt.Sprint(i%20))
				var request metrics.Samples
				for at, metric := range all {
					request = append(request, metrics.Sample{
						TimeSeries: metrics.TimeSeries{Metric: metric, Tags: tags}, Time: clock, Value: 5 * math.Exp(float64((i*7919+at)%1000)/250),
					})
				}
				containers = append(containers, request)
			}
		}
		out.AddMetricSamples(containers)
		clock = clock.Add(time.Second)
		b.StartTimer()
		out.flush(out.due())
	}
	if err := out.finish(); err != nil {
		b.Fatal(err)
	}
}
