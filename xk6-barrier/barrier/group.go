package barrier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/metrics"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/class"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

type (
	// groupObject is an instance of the class Group.
	groupObject struct {
		class.Hidden

		inst   *instance
		config *groupConfig
	}

	// groupConfig are checked options.
	groupConfig struct {
		groupOptions

		timeout time.Duration
		random  bool   // the run id is a random one
		key     string // the options as text
	}

	// groupOptions are the options as the core takes them.
	groupOptions struct {
		Store     string           `json:"store"`
		TLS       *core.TLSOptions `json:"tls,omitempty"`
		RunID     string           `json:"runId,omitempty"`
		Name      string           `json:"name"`
		Size      int64            `json:"size"`
		OnTimeout string           `json:"onTimeout,omitempty"`
		TTL       *int64           `json:"ttlMs,omitempty"`
	}

	// grouping is open groups, which all virtual users of the process share.
	grouping struct {
		mu      sync.Mutex
		group   *core.Group
		counted *atomic.Uint32            // of the groups that this process counts those that the metric has
		last    atomic.Pointer[groupCall] // the newest call that may count them
	}

	// groupCall is one call: what belongs to the virtual user and may only be read on its goroutine.
	groupCall struct {
		object      *groupObject
		name        string
		ctx         context.Context //nolint:containedctx // a call is the lifetime of this context
		state       *lib.State
		tags        metrics.TagsAndMeta
		participant string
		payload     *string
		timeout     time.Duration
		clamped     time.Duration // what k6 allows, where that is less
		started     time.Time
	}
)

// groupMethods are those of the class Group.
var groupMethods = slices.Concat( //nolint:gochecknoglobals // a constant that Go has no constant form for
	twins("join", (*groupObject).join),
	twins("leave", (*groupObject).leave),
	[]class.Method[*groupObject]{{Name: "status", Call: (*groupObject).status}},
)

func (g *groupObject) module() *instance { return g.inst }

// newGroup is `new Group(name, options)`. It checks the options and does nothing else.
func (i *instance) newGroup(call sobek.ConstructorCall) *groupObject {
	c, err := i.readGroupConfig(call.Argument(0), call.Argument(1))
	if err != nil {
		i.throw(wrapError("new Group", err))
	}
	return &groupObject{inst: i, config: c}
}

func (i *instance) readGroupConfig(name, given sobek.Value) (*groupConfig, error) {
	o, err := newOptions(i.vu.Runtime(), given, "{ size: 4 }")
	if err != nil {
		return nil, err
	}
	c := &groupConfig{timeout: defaultTimeout}
	c.groupOptions = groupOptions{
		Store:     memoryStore,
		Name:      o.text("name", name),
		Size:      o.required("size").whole(o, "size"),
		OnTimeout: o.choice("onTimeout", "throw", "release"),
		RunID:     o.string("runId"),
		TLS:       o.tls(),
	}
	if store := o.string("store"); store != "" {
		c.Store = store
		if store != memoryStore && !strings.Contains(store, "://") {
			o.fail("store", o.get("store"), "'"+memoryStore+"' or "+allowedRedisURL)
		}
	}
	if d := o.duration("timeout", allowedDuration, time.Nanosecond); d != nil {
		c.timeout = *d
	}
	c.TTL = milliseconds(o.duration("ttl", allowedDuration, time.Nanosecond))
	if err := o.done(); err != nil {
		return nil, err
	}
	if c.RunID == "" {
		c.RunID = i.runID
	}
	if c.RunID == "" && c.Store != memoryStore {
		c.RunID, c.random = i.root.randomRunID(), true
	}
	text, err := marshal(c.groupOptions)
	if err != nil {
		return nil, err
	}
	c.key = string(text)
	return c, i.root.engine.CheckGroup(text) //nolint:wrapcheck // the caller names the call
}

// begin reads a call's options on the virtual user's goroutine.
func (g *groupObject) begin(name string, given sobek.Value, joins bool) (*groupCall, error) {
	state := g.inst.vu.State()
	if state == nil {
		return nil, initContextError(name)
	}
	o, err := newOptions(g.inst.vu.Runtime(), given, "{ participant: 7 }")
	if err != nil {
		return nil, wrapError(name, err)
	}
	c := &groupCall{
		object: g, name: name, ctx: g.inst.vu.Context(), state: state, tags: state.Tags.GetCurrentValues(),
		timeout: g.config.timeout, started: time.Now(),
	}
	named := o.participant()
	if joins {
		if v := o.get("payload"); v != nil {
			payload := o.text("payload", v)
			c.payload = &payload
		}
		if d := o.duration("timeout", allowedDuration, time.Nanosecond); d != nil {
			c.timeout = *d
		}
	}
	if err := o.done(); err != nil {
		return nil, wrapError(name, err)
	}
	switch {
	case named != nil:
		c.participant = named.id
	case state.VUIDGlobal == 0:
		return nil, wrapError(name, needParticipant())
	default:
		c.participant = fmt.Sprint(state.VUIDGlobal)
	}
	return c, nil
}

// join waits until a group has formed.
func (g *groupObject) join(name string, fc sobek.FunctionCall) task {
	c, err := g.begin(name, fc.Argument(0), true)
	if err != nil {
		return failedTask(err)
	}
	return c.task(func(group *grouping) (jsValue, error) {
		group.last.Store(c)
		joined, err := group.group.Join(c.ctx, core.GroupJoin{
			Participant: c.participant, Owner: c.state.VUIDGlobal, Payload: c.payload, Wait: c.wait(),
		})
		lasted := time.Since(c.started)
		switch {
		case core.HasStatus(err, core.Timeout):
			c.push(c.reading(g.inst.metrics.groupWaitDuration, metrics.D(lasted)), c.reading(g.inst.metrics.groupTimeouts, 1))
			c.count(group)
			return nil, c.timedOut(err, lasted)
		case err != nil:
			return nil, err
		case joined.Left:
			return nil, &Error{
				name:   groupLeftError,
				reason: fmt.Sprintf("group %q: participant %s gave up its place by leave()", g.config.Name, c.participant),
			}
		}
		c.push(c.reading(g.inst.metrics.groupWaitDuration, metrics.D(lasted)))
		c.countTo(group, joined.Counted)
		return func(rt *sobek.Runtime) sobek.Value { return joinedValue(rt, joined, lasted) }, nil
	})
}

// leave gives up the place of one who waits.
func (g *groupObject) leave(name string, fc sobek.FunctionCall) task {
	c, err := g.begin(name, fc.Argument(0), false)
	if err != nil {
		return failedTask(err)
	}
	return c.task(func(group *grouping) (jsValue, error) {
		group.last.Store(c)
		left, err := group.group.Leave(c.ctx, c.participant)
		c.count(group)
		return func(rt *sobek.Runtime) sobek.Value { return script.NewData(rt).Put("left", left).Object }, err
	})
}

// status is what this process knows, without I/O.
func (g *groupObject) status(sobek.FunctionCall) sobek.Value {
	const name = "status"
	state := g.inst.vu.State()
	if state == nil {
		g.inst.throw(initContextError(name))
	}
	c := &groupCall{object: g, name: name, ctx: g.inst.vu.Context(), state: state}
	return g.inst.sync(c.task(func(group *grouping) (jsValue, error) {
		s, err := group.group.Status(c.ctx)
		return func(rt *sobek.Runtime) sobek.Value {
			return script.NewData(rt).Put("name", s.Name).Put("runId", s.RunID).Put("store", s.Store).Put("size", s.Size).
				Put("groups", s.Groups).Put("waiting", s.Waiting).Put("processes", s.Processes).
				Put("connected", s.Connected).Object
		}, err
	}))
}

// task is the call as something to run, whose errors say where they come from.
func (c *groupCall) task(use func(*grouping) (jsValue, error)) task {
	return task{run: func(*sobek.Runtime) (jsValue, error) {
		group, err := c.open()
		var result jsValue
		if err == nil {
			result, err = use(group)
		}
		if err != nil && !errors.Is(err, core.ErrEnded) {
			return nil, wrapError(c.name, err)
		}
		return result, err
	}}
}

// open gives the groups that all virtual users with the same options share. Opening them connects nothing yet.
func (c *groupCall) open() (*grouping, error) {
	config, root := c.object.config, c.object.inst.root
	found, _ := root.groups.LoadOrStore(config.key, new(grouping))
	g := found.(*grouping) //nolint:forcetypeassert // the map holds nothing else
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.group != nil {
		return g, nil
	}
	if segment := c.state.Options.ExecutionSegment; segment != nil {
		place := placeOf(config)
		if err := place.checkSegments(segment, segment.String()); err != nil {
			return nil, err
		}
	}
	client, err := root.start(c.object.inst.vu.Events())
	if err != nil {
		return nil, err
	}
	root.resolveAs(c.state)
	options := config.groupOptions
	options.TLS = tlsFor(c.state, options.Store, options.TLS)
	text, err := marshal(options)
	if err != nil {
		return nil, err
	}
	// Those who differ in the life of the record only share its groups.
	counted, _ := root.counted.LoadOrStore([3]string{options.Store, options.RunID, options.Name}, new(atomic.Uint32))
	g.counted = counted.(*atomic.Uint32) //nolint:forcetypeassert // the map holds nothing else
	if g.group, err = client.OpenGroup(text); err != nil {
		return nil, err
	}
	if config.random {
		root.logger.Infof("group %q has the random run id %q; set the option runId or %s to let other processes in",
			config.Name, config.RunID, runIDEnv)
	}
	return g, nil
}

// placeOf is the place of groups, checked as that of a barrier is.
func placeOf(c *groupConfig) *config {
	return &config{coreOptions: coreOptions{Store: c.Store, RunID: c.RunID, RandomRunID: c.random}}
}

// wait is how long the core may let the call wait: below the limit that k6 sets, so that our error comes before k6's.
func (c *groupCall) wait() time.Duration {
	left := time.Until(c.started.Add(c.timeout))
	limit, ok := c.ctx.Deadline()
	if !ok {
		return max(0, left)
	}
	whole := limit.Sub(c.started)
	if latest := time.Until(limit.Add(-min(time.Second, whole/10))); latest < left {
		c.clamped = whole
		left = latest
	}
	return max(0, left)
}

func (c *groupCall) timedOut(err error, lasted time.Duration) error {
	config := c.object.config
	e := &Error{name: groupTimeoutError, reason: fmt.Sprintf("group %q: no group of %d formed within %s",
		config.Name, config.Size, lasted.Round(time.Millisecond))}
	if c.clamped > 0 {
		e.reason += fmt.Sprintf(" (kept below the %s that k6 allows here)", c.clamped.Round(time.Millisecond))
	}
	var told *core.Error
	if errors.As(err, &told) {
		if _, others, found := strings.Cut(told.Message, "; "); found {
			e.reason += "; " + others
		}
	}
	return e
}

func (c *groupCall) reading(metric *metrics.Metric, value float64) reading {
	return reading{metric: metric, tags: c.tags, barrier: c.object.config.Name, noPhase: true, at: time.Now(), value: value}
}

// count adds the groups to the metric that nobody has added yet: the call of the first member may have ended before it was told.
func (c *groupCall) count(group *grouping) {
	if status, err := group.group.Status(context.WithoutCancel(c.ctx)); err == nil {
		c.countTo(group, status.Counted)
	}
}

// countTo is count where the number of groups is known. They count even where the iteration is over.
func (c *groupCall) countTo(group *grouping, counted uint32) {
	outbox := &c.object.inst.root.outbox
	for outbox.takes(c.ctx) {
		known := group.counted.Load()
		if counted <= known {
			return
		}
		if group.counted.CompareAndSwap(known, counted) {
			outbox.add(c.state.Samples, c.reading(c.object.inst.metrics.groups, float64(counted-known)))
			return
		}
	}
}

// countGroups is for the end of the test: after the last call some may have formed whose first member no longer waited.
func (r *RootModule) countGroups() {
	r.groups.Range(func(_, found any) bool {
		group := found.(*grouping) //nolint:forcetypeassert // the map holds nothing else
		if c := group.last.Load(); c != nil {
			c.count(group)
		}
		return true
	})
}

// push hands readings on to k6, unless the iteration is over.
func (c *groupCall) push(readings ...reading) {
	if c.ctx.Err() == nil {
		c.object.inst.root.outbox.add(c.state.Samples, readings...)
	}
}

func joinedValue(rt *sobek.Runtime, joined *core.Joined, lasted time.Duration) sobek.Value {
	members := make([]any, len(joined.Members))
	for at, m := range joined.Members {
		var payload any = sobek.Null()
		if m.Payload != nil {
			payload = *m.Payload
		}
		members[at] = script.NewData(rt).Put("participant", m.Participant).Put("payload", payload).Object
	}
	return script.NewData(rt).Put("group", joined.Group).Put("index", joined.Index).Put("size", joined.Size).
		Put("members", rt.NewArray(members...)).Put("reason", joined.Reason).Put("waitedMs", metrics.D(lasted)).
		Put("releasedAt", joined.ReleasedAt).Put("serverReleasedAt", orNull(joined.ServerReleasedAt)).Object
}
