package barrier

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/metrics"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// openBarrier is a barrier as all virtual users of the process share it.
type openBarrier struct {
	*core.Barrier

	config   *config
	root     *RootModule
	zeros    sync.Once
	likely   atomic.Pointer[core.Release]
	progress progress
	arrivals uncounted
	woke     atomic.Pointer[firstWake]
	standIns standIns

	missing oneSearch
}

// firstWake is how long after the instant of a release the first of those woke who slept.
type firstWake struct {
	phase uint32
	after time.Duration
}

// noteWake takes note of a wake. Of a phase only the first one changes anything.
func (s *openBarrier) noteWake(phase uint32, after time.Duration) {
	for {
		known := s.woke.Load()
		if known != nil && (phase < known.phase || phase == known.phase && after >= known.after) {
			return
		}
		if s.woke.CompareAndSwap(known, &firstWake{phase, after}) {
			return
		}
	}
}

// Status is the core's, with what only this side knows.
func (s *openBarrier) Status() (*core.BarrierStatus, error) {
	status, err := s.Barrier.Status()
	first := s.woke.Load()
	if err != nil || first == nil || len(status.Released) == 0 || first.phase != slices.Max(status.Released) {
		return status, err //nolint:wrapcheck // it is the same
	}
	own := *status // all who ask share it
	after := metrics.D(first.after)
	own.FirstWakeMs = &after
	return &own, nil
}

// opening is the one attempt to open a barrier that all who need it wait for.
type opening struct {
	done   chan struct{}
	shared *openBarrier
	err    error
}

// open gives the open barrier. Whoever comes first opens it for all, on a goroutine of its own so that the end of one
// virtual user does not fail the others.
func (c *call) open() (*openBarrier, error) { return c.openBefore(time.Time{}) }

// openBefore is the same with a limit, where that is not zero.
func (c *call) openBefore(limit time.Time) (*openBarrier, error) {
	if s := c.config.opened(c.inst.root); s != nil {
		c.entered(s)
		return s, nil
	}
	if segment := c.state.Options.ExecutionSegment; segment != nil {
		if err := c.config.checkSegments(segment, segment.String()); err != nil {
			return nil, err
		}
	}
	if err := c.config.checkScenarios(c.state.Options.Scenarios); err != nil {
		return nil, err
	}
	client, err := c.inst.root.start(c.inst.vu.Events())
	if err != nil {
		return nil, err
	}

	o := c.inst.root.opening(client, c.config, c.state)
	ctx := c.ctx
	if !limit.IsZero() {
		limited, cancel := context.WithDeadline(ctx, limit)
		defer cancel()
		ctx = limited
	}
	select {
	case <-o.done:
	case <-ctx.Done():
		return nil, core.ErrEnded
	}
	if o.err != nil {
		return nil, o.err
	}
	c.entered(o.shared)
	return o.shared, nil
}

// entered is called whenever the virtual user turns to the open barrier.
func (c *call) entered(s *openBarrier) {
	if c.user.turnTo(s.Handle()) && c.config.watches() && !s.isOver() {
		c.inst.root.watch.add(c.config) // whoever let go of the barrier before took it off
	}
	c.pushZeros(s)
}

// opening is the attempt to open the barrier, made by whoever needs it first.
func (r *RootModule) opening(client *core.Client, c *config, state *lib.State) *opening {
	key := string(c.json)
	for {
		mine := &opening{done: make(chan struct{})}
		found, others := r.opens.LoadOrStore(key, mine)
		o := found.(*opening) //nolint:forcetypeassert // the map holds nothing else
		switch {
		case !others:
			go o.run(client, r, c, state)
			return o
		case !o.isGone():
			return o
		}
		r.opens.CompareAndDelete(key, o)
	}
}

// isGone reports whether the barrier was open and is not any more.
func (o *opening) isGone() bool {
	return isClosed(o.done) && o.shared != nil && isClosed(o.shared.Gone())
}

// opened is the barrier if this process has opened it.
func (c *config) opened(r *RootModule) *openBarrier {
	if s := c.found.Load(); s != nil && !isClosed(s.Gone()) {
		return s
	}
	found, ok := r.opens.Load(string(c.json))
	if !ok {
		return nil
	}
	o := found.(*opening) //nolint:forcetypeassert // the map holds nothing else
	if !isClosed(o.done) || o.isGone() {
		return nil
	}
	c.found.Store(o.shared)
	return o.shared
}

// run opens the barrier for all who wait for that.
func (o *opening) run(client *core.Client, r *RootModule, c *config, state *lib.State) {
	defer close(o.done)
	o.shared, o.err = r.openBarrier(client, c, state)
	// What the store did not do now it may do later. All other errors stay.
	if o.err != nil && wrapError("", o.err).name == storeError {
		r.opens.Delete(string(c.json))
	}
}

func (r *RootModule) openBarrier(client *core.Client, c *config, state *lib.State) (*openBarrier, error) {
	r.resolveAs(state)
	withVerification := c.coreOptions
	withVerification.TLS = tlsFor(state, c.Store, c.TLS)
	options, err := marshal(withVerification)
	if err != nil {
		return nil, err
	}
	opened, err := client.Open(context.Background(), options)
	if err != nil {
		return nil, err
	}
	opened.AtOnce = c.Store == memoryStore
	if c.RandomRunID {
		r.logger.Infof("barrier %q has the random run id %q; set the option runId or %s to let other processes in",
			c.Name, c.RunID, runIDEnv)
	}
	if unknown := strings.Join(c.unknownScenarios(state.Options.Scenarios), ", "); unknown != "" {
		// Once, however many barriers a soak makes.
		if _, told := r.misnamed.LoadOrStore(unknown, nil); !told {
			r.logger.Warnf("barrier %q: failUnaccounted names %s, which this test does not have; its scenarios are %s", c.Name,
				unknown, strings.Join(slices.Sorted(maps.Keys(state.Options.Scenarios)), ", "))
		}
	}
	r.sweep()
	s, _ := r.shared.LoadOrStore(opened.Handle(), &openBarrier{Barrier: opened, config: c, root: r})
	return s.(*openBarrier), nil //nolint:forcetypeassert // the map holds nothing else
}

// oneSearch is a search for who is missing that all who ask meanwhile share.
type oneSearch struct {
	mu    sync.Mutex
	under chan struct{} // closed when it is over
	found *core.MissingIDs
	at    time.Time
}

// missingFor names who is missing, once a second at most however many ask: when a barrier times out, all its
// virtual users ask at once.
func (s *openBarrier) missingFor(ctx context.Context) *core.MissingIDs {
	const fresh = time.Second
	search := &s.missing
	search.mu.Lock()
	if time.Since(search.at) >= fresh {
		search.at, search.under = time.Now(), make(chan struct{})
		// On a goroutine of its own: the end of one virtual user does not end the search of all.
		go s.search(search.under, fresh)
	}
	under := search.under
	search.mu.Unlock()
	select {
	case <-under:
	case <-ctx.Done():
	}
	search.mu.Lock()
	defer search.mu.Unlock()
	return search.found
}

func (s *openBarrier) search(over chan<- struct{}, limit time.Duration) {
	defer close(over)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	found, err := s.Barrier.Missing(ctx, shownMissing)
	if err != nil {
		if !errors.Is(err, core.ErrEnded) {
			s.root.logger.WithError(err).Debug("asking who is missing")
		}
		return
	}
	s.missing.mu.Lock()
	defer s.missing.mu.Unlock()
	s.missing.found = found
}
