package sse

import (
	"fmt"

	"go.k6.io/k6/v2/metrics"
)

// The metrics of this module. Those of k6/http (http_reqs, http_req_duration and the other timings) are recorded too.
const (
	metricEvents        = "sse_event" // not plural: scripts and thresholds know it by this name
	metricFirstEvent    = "sse_first_event_duration"
	metricStream        = "sse_stream_duration"
	metricReconnects    = "sse_reconnects"
	metricReceivedBytes = "sse_data_received"
)

type streamMetrics struct {
	events     *metrics.Metric // blocks handed to handlers
	firstEvent *metrics.Metric // from sending the request to the first event with data
	stream     *metrics.Metric // from the response headers to the end of the stream
	reconnects *metrics.Metric // connections an EventSource made after its first
	received   *metrics.Metric // bytes of the body, as they came over the wire
}

// registerMetrics is called in the init context, where k6 allows it. The registry answers a repeat with the same
// metric.
func registerMetrics(registry *metrics.Registry) (*streamMetrics, error) {
	var (
		m   streamMetrics
		err error
	)
	for _, wanted := range []struct {
		metric **metrics.Metric
		name   string
		typ    metrics.MetricType
		unit   metrics.ValueType
	}{
		{&m.events, metricEvents, metrics.Counter, metrics.Default},
		{&m.firstEvent, metricFirstEvent, metrics.Trend, metrics.Time},
		{&m.stream, metricStream, metrics.Trend, metrics.Time},
		{&m.reconnects, metricReconnects, metrics.Counter, metrics.Default},
		{&m.received, metricReceivedBytes, metrics.Counter, metrics.Data},
	} {
		if *wanted.metric, err = registry.NewMetric(wanted.name, wanted.typ, wanted.unit); err != nil {
			return nil, fmt.Errorf("k6/x/sse cannot register the metric %s: %w", wanted.name, err)
		}
	}
	return &m, nil
}
