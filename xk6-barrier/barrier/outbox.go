package barrier

import (
	"context"
	"strconv"
	"sync"
	"time"

	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/metrics"
)

// batchEvery is how long samples are gathered before k6 gets them, all at once.
const batchEvery = 100 * time.Millisecond

// reading is what becomes a sample, as cheap to note down as can be: those who do have just been woken, and their next
// statement waits for it.
type reading struct {
	metric  *metrics.Metric
	tags    metrics.TagsAndMeta // those that the virtual user had when the call was made
	barrier string
	reason  string // a tag where it is not empty
	phase   uint32
	noPhase bool // of groups, which have none
	at      time.Time
	value   float64
}

// outbox hands readings on to k6. k6 takes samples through one channel, on one goroutine, so that virtual users who are
// released at once and push by themselves queue up there before their next statement.
type outbox struct {
	mu       sync.Mutex
	to       chan<- metrics.SampleContainer
	pending  []reading
	gathers  bool // whether readings are gathered; else each is pushed at once
	due      *time.Timer
	closed   bool
	handover sync.Mutex // held while a batch is pushed
}

// add notes down what one call has to tell. Once the outbox is closed, k6 may have closed the channel: too late.
func (o *outbox) add(to chan<- metrics.SampleContainer, readings ...reading) {
	o.mu.Lock()
	switch {
	case o.closed:
	case !o.gathers:
		o.mu.Unlock()
		o.push(to, readings)
		return
	default:
		o.to = to
		o.pending = append(o.pending, readings...)
		if o.due == nil {
			o.due = time.AfterFunc(batchEvery, o.flush)
		}
	}
	o.mu.Unlock()
}

// count is add for what counts even where its iteration is over. Without an end of the test to wait for, nobody knows whether
// k6 still takes samples then.
func (o *outbox) count(ctx context.Context, to chan<- metrics.SampleContainer, r reading) {
	if o.takes(ctx) {
		o.add(to, r)
	}
}

func (o *outbox) takes(ctx context.Context) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.gathers || ctx.Err() == nil
}

// push hands readings on at once, unless the outbox was closed meanwhile.
func (o *outbox) push(to chan<- metrics.SampleContainer, readings []reading) {
	o.handover.Lock()
	defer o.handover.Unlock()
	o.mu.Lock()
	closed := o.closed
	o.mu.Unlock()
	if !closed {
		to <- samplesOf(readings)
	}
}

// gather starts batches. It needs a call of close before k6 closes the channel.
func (o *outbox) gather() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gathers = true
}

func (o *outbox) flush() {
	o.handover.Lock()
	defer o.handover.Unlock()
	o.mu.Lock()
	readings, to := o.pending, o.to
	o.pending, o.due = nil, nil
	o.mu.Unlock()
	if len(readings) > 0 {
		to <- samplesOf(readings)
	}
}

// close hands over what is pending. Afterwards nothing is sent any more.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	if o.due != nil {
		o.due.Stop()
	}
	o.mu.Unlock()
	o.flush()
}

// series tells which readings of a counter differ in nothing but their value and time.
type series struct {
	metric *metrics.Metric
	tags   *metrics.TagSet
	phase  uint32
}

// samplesOf makes samples. Those that differ in nothing else share their metadata, which nobody may change, and those of a
// counter are one sample: ten thousand arrivals are a ten thousand, at the time of the last one.
func samplesOf(readings []reading) metrics.Samples {
	phases := make(map[uint32]map[string]string)
	counted := make(map[series]int)
	samples := make(metrics.Samples, 0, len(readings))
	for _, r := range readings {
		tags := r.tags
		tags.SetTag("barrier", r.barrier)
		if r.reason != "" {
			tags.SetTag("reason", r.reason)
		}
		// The phase is metadata, because it grows without bound.
		metadata, known := phases[r.phase]
		switch {
		case r.noPhase:
			metadata = tags.Metadata
		case len(tags.Metadata) > 0:
			own := tags.Clone()
			own.SetMetadata("phase", strconv.FormatUint(uint64(r.phase), 10))
			metadata = own.Metadata
		case !known:
			metadata = map[string]string{"phase": strconv.FormatUint(uint64(r.phase), 10)}
			phases[r.phase] = metadata
		}
		if r.metric.Type == metrics.Counter && len(tags.Metadata) == 0 {
			same := series{r.metric, tags.Tags, r.phase}
			if at, found := counted[same]; found {
				samples[at].Value += r.value
				samples[at].Time = r.at
				continue
			}
			counted[same] = len(samples)
		}
		samples = append(samples, metrics.Sample{
			TimeSeries: metrics.TimeSeries{Metric: r.metric, Tags: tags.Tags},
			Time:       r.at,
			Metadata:   metadata,
			Value:      r.value,
		})
	}
	return samples
}

// gatherSamples lets the outbox gather until the test ends: k6 waits for its subscribers then, before it closes the channel.
func (r *RootModule) gatherSamples(events common.Events) {
	if events.Global == nil {
		return
	}
	end, ok := eventNamed(events.Global.Subscribe, "TestEnd")
	if !ok {
		return
	}
	r.outbox.gather()
	_, ends := events.Global.Subscribe(end)
	go func() {
		event, ok := <-ends
		if !ok {
			return // k6 went down without an end of the test, and so without anyone to take samples
		}
		r.watch.close(endingsDeadline) // what fails only now counts too
		r.countGroups()
		r.outbox.close()
		event.Done()
	}()
}
