package barrier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/lib"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/class"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/wording"
	"go.k6.io/k6/v2/metrics"
)

const (
	defaultQueueWait     = 60 * time.Second
	defaultQueueInterval = 250 * time.Millisecond
	leastQueueInterval   = 10 * time.Millisecond
)

type (
	// counterObject is an instance of the class QueueCounter.
	counterObject struct {
		class.Hidden

		inst    *instance
		options counterOptions
		key     string // the options as text
	}

	// counterOptions are a counter's options as the core takes them.
	counterOptions struct {
		Redis     string           `json:"redis"`
		TLS       *core.TLSOptions `json:"tls,omitempty"`
		Keys      []string         `json:"keys"`
		OpTimeout *int64           `json:"opTimeoutMs,omitempty"`
	}

	// counting is an open counter, which all virtual users of the process share.
	counting struct {
		mu     sync.Mutex
		opened bool
		client *core.Client
		handle uint64
	}
)

// queueCounterMethods are those of the class QueueCounter.
var queueCounterMethods = slices.Concat( //nolint:gochecknoglobals // a constant that Go has no constant form for
	twins("counts", (*counterObject).counts),
	twins("total", (*counterObject).total),
	twins("waitFor", (*counterObject).waitFor),
	twins("command", (*counterObject).command),
)

func (q *counterObject) module() *instance { return q.inst }

// newQueueCounter is `new QueueCounter(options)`. It checks the options and does nothing else.
func (i *instance) newQueueCounter(call sobek.ConstructorCall) *counterObject {
	const name = "new QueueCounter"
	o, err := newOptions(i.vu.Runtime(), call.Argument(0), "{ redis: 'redis://localhost', keys: ['queue'] }")
	if err != nil {
		i.throw(wrapError(name, err))
	}
	redis, tls := o.redisURL("redis", i.root.engine)
	q := &counterObject{inst: i, options: counterOptions{
		Redis:     redis,
		TLS:       tls,
		Keys:      o.strings("keys"),
		OpTimeout: milliseconds(o.duration("timeout", allowedDuration, time.Nanosecond)),
	}}
	if len(q.options.Keys) == 0 {
		o.fail("keys", o.get("keys"), "an array of at least one key")
	} else if q.options.Keys[0] == "" { // they are sorted
		o.fail("keys", i.vu.Runtime().ToValue(""), "keys that are not empty")
	}
	if err := o.done(); err != nil {
		i.throw(wrapError(name, err))
	}
	key, err := marshal(q.options)
	if err != nil {
		i.throw(wrapError(name, err))
	}
	q.key = string(key)
	return q
}

// counts is the length of each queue.
func (q *counterObject) counts(name string, _ sobek.FunctionCall) task {
	return q.task(name, func(ctx context.Context, count counter) (jsValue, error) {
		counts, err := count(ctx)
		return func(rt *sobek.Runtime) sobek.Value { return lengthsOf(rt, q.options.Keys, counts) }, err
	})
}

// total is the length of all queues together.
func (q *counterObject) total(name string, _ sobek.FunctionCall) task {
	return q.task(name, func(ctx context.Context, count counter) (jsValue, error) {
		counts, err := count(ctx)
		return func(rt *sobek.Runtime) sobek.Value { return rt.ToValue(sum(counts)) }, err
	})
}

// waitFor waits until the queues hold at least so many together.
func (q *counterObject) waitFor(name string, fc sobek.FunctionCall) task {
	n, ok := wholeNumber(fc.Argument(0))
	if !ok || n < 0 {
		return failedTask(newOptionError("n", script.Describe(fc.Argument(0)), "a whole number of at least 0").of(name))
	}
	o, err := newOptions(q.inst.vu.Runtime(), fc.Argument(1), "{ timeout: '30s' }")
	if err != nil {
		return failedTask(wrapError(name, err))
	}
	timeout, interval := defaultQueueWait, defaultQueueInterval
	if d := o.duration("timeout", allowedDuration, time.Nanosecond); d != nil {
		timeout = *d
	}
	if d := o.duration("interval", `a duration of at least 10 ms: milliseconds, or a string such as "250ms"`, leastQueueInterval); d != nil {
		interval = *d
	}
	if err := o.done(); err != nil {
		return failedTask(wrapError(name, err))
	}
	w := queueWait{keys: q.options.Keys, least: uint64(n), timeout: timeout, interval: interval} //nolint:gosec // not negative
	return q.task(name, w.run)
}

// command sends one command about a key that stands beside the queues. Which ones it may be is the core's to judge.
func (q *counterObject) command(name string, fc sobek.FunctionCall) task {
	words := make([]string, 0, len(fc.Arguments))
	for at, v := range fc.Arguments {
		switch word := v.Export().(type) {
		case string:
			words = append(words, word)
		case int64, float64:
			words = append(words, v.String())
		default:
			return failedTask(newOptionError(fmt.Sprintf("argument %d", at+1), script.Describe(v), "a string or a number").of(name))
		}
	}
	return q.opened(name, func(ctx context.Context, c *counting) (jsValue, error) {
		answer, err := c.client.Command(ctx, c.handle, words)
		return func(rt *sobek.Runtime) sobek.Value { return rt.ToValue(answer) }, err
	})
}

// counter counts the queues once; the lengths are in the order of the keys.
type counter func(ctx context.Context) ([]uint64, error)

// task is something to do with counts.
func (q *counterObject) task(name string, use func(context.Context, counter) (jsValue, error)) task {
	return q.opened(name, func(ctx context.Context, c *counting) (jsValue, error) {
		return use(ctx, func(ctx context.Context) ([]uint64, error) { return c.client.Counts(ctx, c.handle) })
	})
}

// opened captures what belongs to the virtual user and opens the counter when the task runs.
func (q *counterObject) opened(name string, use func(context.Context, *counting) (jsValue, error)) task {
	state := q.inst.vu.State()
	if state == nil {
		return failedTask(initContextError(name))
	}
	ctx := q.inst.vu.Context()
	return task{run: func(*sobek.Runtime) (jsValue, error) {
		c, err := q.open(state)
		var result jsValue
		if err == nil {
			result, err = use(ctx, c)
		}
		if err != nil && !errors.Is(err, core.ErrEnded) {
			err = wrapError(name, err)
		}
		return result, err
	}}
}

// open gives the counter that all virtual users with the same options share. Opening it connects nothing yet.
func (q *counterObject) open(state *lib.State) (*counting, error) {
	client, err := q.inst.root.start(q.inst.vu.Events())
	if err != nil {
		return nil, err
	}
	found, _ := q.inst.root.counters.LoadOrStore(q.key, &counting{client: client})
	c := found.(*counting) //nolint:forcetypeassert // the map holds nothing else
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened {
		return c, nil
	}
	q.inst.root.resolveAs(state)
	options := q.options
	options.TLS = tlsFor(state, options.Redis, options.TLS)
	text, err := marshal(options)
	if err != nil {
		return nil, err
	}
	if c.handle, err = client.OpenCounter(text); err != nil {
		return nil, err
	}
	c.opened = true
	return c, nil
}

// queueWait is one waitFor.
type queueWait struct {
	keys              []string
	least             uint64
	timeout, interval time.Duration
}

func (w queueWait) run(ctx context.Context, count counter) (jsValue, error) {
	started := time.Now()
	deadline := started.Add(w.timeout)
	if limit, ok := ctx.Deadline(); ok {
		// Ours, which has counts, comes before k6's.
		if latest := limit.Add(-min(time.Second, limit.Sub(started)/10)); latest.Before(deadline) {
			deadline = latest
		}
	}
	limited, cancel := context.WithDeadline(ctx, deadline.Add(w.grace(ctx, deadline)))
	defer cancel()
	var held uint64
	for {
		counts, err := count(limited)
		if errors.Is(err, core.ErrEnded) && ctx.Err() == nil {
			return nil, w.timedOut(started, held, "; the server does not answer")
		}
		if err != nil {
			return nil, err
		}
		held = sum(counts)
		if held >= w.least {
			lasted := time.Since(started)
			return func(rt *sobek.Runtime) sobek.Value {
				return script.NewData(rt).Put("total", held).Put("counts", lengthsOf(rt, w.keys, counts)).
					Put("waitedMs", metrics.D(lasted)).Object
			}, nil
		}
		if left := time.Until(deadline); left <= 0 {
			return nil, w.timedOut(started, held, "")
		}
		pause := time.NewTimer(min(w.interval, time.Until(deadline)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, core.ErrEnded
		}
	}
}

// grace is how long the last count may outlast the deadline.
func (w queueWait) grace(ctx context.Context, deadline time.Time) time.Duration {
	if limit, ok := ctx.Deadline(); ok {
		return min(lookTimeout, limit.Sub(deadline)*3/4)
	}
	return lookTimeout
}

func (w queueWait) timedOut(started time.Time, held uint64, why string) error {
	return &Error{
		name: queueTimeoutError,
		reason: fmt.Sprintf("the queues hold %s of %s after %s%s", wording.Grouped(held), wording.Grouped(w.least),
			time.Since(started).Round(time.Millisecond), why),
	}
}

// lengthsOf are the lengths of queues by key, in the order of the keys.
func lengthsOf(rt *sobek.Runtime, keys []string, lengths []uint64) *sobek.Object {
	data := script.NewData(rt)
	for at, key := range keys {
		data.Put(key, lengths[at])
	}
	return data.Object
}

func sum(counts []uint64) uint64 {
	var total uint64
	for _, n := range counts {
		total += n
	}
	return total
}

// marshal writes options for the core.
func marshal(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("writing the options: %w", err)
	}
	return text, nil
}
