package barrier

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/lib"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

const (
	defaultTimeout = 300 * time.Second
	memoryStore    = "memory"
)

type (
	// config is a barrier's checked options. Virtual users with the same ones share it, so that nobody may change it.
	config struct {
		coreOptions

		timeout  time.Duration
		json     []byte // of coreOptions
		identity string // store, run id and name: what makes two barriers the same
		found    atomic.Pointer[openBarrier]
	}

	// coreOptions are the options as the core takes them.
	coreOptions struct {
		Store           string           `json:"store"`
		TLS             *core.TLSOptions `json:"tls,omitempty"`
		RunID           string           `json:"runId,omitempty"`
		Name            string           `json:"name"`
		Parties         parties          `json:"parties"`
		Cyclic          bool             `json:"cyclic,omitempty"`
		Release         *quorum          `json:"release,omitempty"`
		Spread          *spread          `json:"spread,omitempty"`
		ReleaseAt       *int64           `json:"releaseAt,omitempty"`
		MaxFailures     *int64           `json:"maxFailures,omitempty"`
		Late            string           `json:"late,omitempty"`
		OnTimeout       string           `json:"onTimeout,omitempty"`
		FailUnaccounted []string         `json:"failUnaccounted,omitempty"`
		Reasons         []string         `json:"reasons,omitempty"`
		TTL             *int64           `json:"ttlMs,omitempty"`
		ReleaseDelay    *int64           `json:"releaseDelayMs,omitempty"`
		RandomRunID     bool             `json:"randomRunId,omitempty"`
	}

	quorum struct {
		Count   int64 `json:"count,omitempty"`
		Percent int64 `json:"percent,omitempty"`
	}
)

// readConfig checks a barrier's options: types, names and durations here, all other rules in the core.
func (i *instance) readConfig(name, given sobek.Value) (*config, *participantID, error) {
	o, err := newOptions(i.vu.Runtime(), given, "{ parties: 10 }")
	if err != nil {
		return nil, nil, err
	}
	c := &config{timeout: defaultTimeout}
	c.coreOptions = coreOptions{
		Store:           memoryStore,
		Name:            o.text("name", name),
		Parties:         o.parties("parties"),
		Cyclic:          o.boolean("cyclic"),
		ReleaseAt:       o.instant("releaseAt"),
		MaxFailures:     o.optionalWhole("maxFailures"),
		Late:            o.choice("late", "pass", "error"),
		OnTimeout:       o.choice("onTimeout", "throw", "release", "abort"),
		FailUnaccounted: o.strings("failUnaccounted"),
		Reasons:         o.strings("reasons"),
		RunID:           o.string("runId"),
		TLS:             o.tls(),
	}
	c.Release, c.Spread = o.release("release")
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
	c.ReleaseDelay = milliseconds(o.duration("releaseDelay", allowedDelay, 0))
	participant := o.participant()
	if err := o.done(); err != nil {
		return nil, nil, err
	}

	if c.Parties.running != nil && i.vu.State() != nil {
		return nil, nil, newOptionError("parties", "those who run, outside the init context",
			"a number; in the init context those who run too, since who runs is seen when iterations begin")
	}
	if c.RunID == "" {
		c.RunID = i.runID
	}
	if c.RunID == "" && c.Store != memoryStore {
		c.RunID = i.root.randomRunID()
		c.RandomRunID = true
	}
	c, err = i.root.check(c)
	return c, participant, err
}

// check lets the core judge what only it knows: grammar, ranges and what excludes what. It returns what all virtual users
// with these options share.
func (r *RootModule) check(c *config) (*config, error) {
	c.identity = strings.Join([]string{c.Store, c.RunID, c.Name}, "\n")

	var err error
	if c.json, err = json.Marshal(c.coreOptions); err != nil {
		return nil, fmt.Errorf("writing the options: %w", err)
	}
	// Thousands of virtual users give the same options: one copy, certificates above all, is enough. The core knows
	// nothing of the time-out and the grace.
	key := c.timeout.String() + c.Parties.grace.String() + string(c.json)
	known, ok := r.checked.Load(key)
	if !ok {
		if err := r.engine.CheckOptions(c.json); err != nil {
			return nil, err
		}
		if known, ok = r.checked.LoadOrStore(key, c); !ok && r.checkedCount.Add(1) > keptConfigs {
			r.checkedCount.Store(0)
			r.checked.Clear() // whoever has one keeps it
		}
	}
	return known.(*config), nil //nolint:forcetypeassert // the map holds nothing else
}

// checkSegments refuses what can only work in one process, where this process is one of several.
func (c *config) checkSegments(segment interface{ FloatLength() float64 }, text string) error {
	if segment.FloatLength() >= 1 {
		return nil
	}
	switch {
	case c.Store == memoryStore:
		return newOptionError("store", script.Quote(memoryStore)+" under the execution segment "+text,
			"a redis:// URL that all processes of the run share")
	case c.RandomRunID:
		return newOptionError("runId", "nothing under the execution segment "+text,
			"the option runId or the environment variable "+runIDEnv+", the same in all processes of the run")
	}
	return nil
}

// checkScenarios refuses parties that run in scenarios which the test does not have: nobody would ever be waited for.
func (c *config) checkScenarios(known lib.ScenarioConfigs) error {
	for _, name := range c.Parties.running {
		if _, is := known[name]; !is && name != everyScenario && len(known) > 0 {
			return newOptionError("parties.running", script.Quote(name),
				"scenarios of this test: "+strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	return nil
}

// unknownScenarios is what failUnaccounted names although the test does not have it: nobody would ever be failed for it.
// That is no error, because one script may serve tests with other scenarios, and `k6 run --vus` replaces them by "default".
func (c *config) unknownScenarios(known lib.ScenarioConfigs) (unknown []string) {
	for _, name := range c.FailUnaccounted {
		if _, is := known[name]; !is && len(known) > 0 {
			unknown = append(unknown, name)
		}
	}
	return unknown
}
