package barrier

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/grafana/sobek"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

const (
	allowedParties = `a whole number, "running", or an object such as { running: ["users"] }`
	// everyScenario stands for all scenarios of a test; none can have this name.
	everyScenario = "*"
	// defaultGrace is how long a virtual user is waited for between two iterations.
	defaultGrace = time.Second
)

// parties are who is expected: so many, or whoever runs in some scenarios.
type parties struct {
	count   int64
	running []string // nil where they are a number
	atLeast *int64   // of those who run: outcomes in the first phase
	grace   time.Duration
}

// MarshalJSON writes them as the core takes them.
func (p parties) MarshalJSON() ([]byte, error) {
	if p.running == nil {
		return json.Marshal(p.count) //nolint:wrapcheck // it is the same
	}
	return json.Marshal(struct { //nolint:wrapcheck // it is the same
		Running []string `json:"running"`
		AtLeast *int64   `json:"atLeast,omitempty"`
	}{p.running, p.atLeast})
}

// runIn reports whether the virtual users of the scenario are expected while they run.
func (p parties) runIn(scenario string) bool {
	return p.running != nil && scenario != "" &&
		(slices.Contains(p.running, scenario) || slices.Contains(p.running, everyScenario))
}

// parties reads who is expected.
func (o *options) parties(option string) parties {
	v := o.get(option)
	if n, ok := wholeNumber(v); ok {
		return parties{count: n}
	}
	object, is := v.(*sobek.Object)
	switch {
	case v != nil && v.Export() == any("running"):
		return parties{running: []string{everyScenario}, grace: defaultGrace}
	case !is || object.ClassName() != "Object":
		o.fail(option, v, allowedParties)
		return parties{}
	}
	within := &options{rt: o.rt, object: object, prefix: option + "."}
	p := parties{running: within.strings("running"), atLeast: within.optionalWhole("atLeast"), grace: defaultGrace}
	if d := within.duration("grace", allowedDelay, 0); d != nil {
		p.grace = *d
	}
	if within.done() == nil && len(p.running) == 0 {
		within.fail("running", within.peek("running"), "an array with the names of scenarios")
	}
	if o.err == nil {
		o.err = within.err
	}
	return p
}

// concerns reports whether the iterations of a scenario have to be watched for the barrier.
func (c *config) concerns(scenario string) bool {
	return slices.Contains(c.FailUnaccounted, scenario) || c.Parties.runIn(scenario)
}

// watches reports whether iterations have to be watched for the barrier at all.
func (c *config) watches() bool {
	return len(c.FailUnaccounted) > 0 || c.Parties.running != nil
}

// runsAs gives who stands for the virtual user from now on among those who run, and who did before; nobody is "".
func (u *user) runsAs(participant string) (before string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before, u.runs = u.runs, participant
	return before
}

// standsBy remembers who stands for it from now on, also in its later iterations.
func (u *user) standsBy(participant string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stood = participant
}

// standing is who stands for it where an iteration begins; without an outcome so far, its own id.
func (u *user) standing(own string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stood != "" {
		return u.stood
	}
	return own
}

// hasArrivedIn reports whether whoever stands for it has arrived in the phase.
func (u *user) hasArrivedIn(phase uint32) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.own == ownArrival{u.runs, int64(phase)}
}

// isStoodForBy reports whether the participant stands for it.
func (u *user) isStoodForBy(participant string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.runs == participant
}

// standIns are the participants that stand for virtual users of this process, with how many users each.
type standIns struct {
	mu    sync.Mutex
	users map[string]int
}

// begin says that the participant stands for one more. The first one begins to run by tell.
func (s *standIns) begin(participant string, tell func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == nil {
		s.users = make(map[string]int)
	}
	s.users[participant]++
	if s.users[participant] > 1 {
		return nil
	}
	return tell()
}

// end says that it stands for one fewer. With the last one it ends by tell.
func (s *standIns) end(participant string, tell func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[participant]--; s.users[participant] > 0 {
		return nil
	}
	delete(s.users, participant)
	return tell()
}

// stand reports whether the participant stands for anybody.
func (s *standIns) stand(participant string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users[participant] > 0
}

// run tells the core who runs for this virtual user from now on; nobody does as "". Who did before does so no longer, but not before
// the other one does: at no time may nobody be waited for.
func (c *call) run(s *openBarrier, participant string) error {
	// In the order in which it is so: whoever begins again must not be taken for one that has ended.
	c.user.telling.Lock()
	defer c.user.telling.Unlock()
	return c.tell(s, participant)
}

// pause tells the core that nobody runs for this virtual user any more, unless its next iteration begins within the grace.
func (c *call) pause(s *openBarrier) {
	u := c.user
	u.telling.Lock()
	defer u.telling.Unlock()
	u.iteration++
	ended := u.iteration
	end := func() {
		u.telling.Lock()
		defer u.telling.Unlock()
		if u.iteration == ended {
			_ = c.tell(s, "") // one that is closed by then waits for nobody
		}
	}
	if c.config.Parties.grace > 0 {
		u.pausing = time.AfterFunc(c.config.Parties.grace, end)
		return
	}
	_ = c.tell(s, "")
}

// goOn is for the start of an iteration.
func (c *call) goOn(s *openBarrier) error {
	c.user.telling.Lock()
	defer c.user.telling.Unlock()
	c.user.iteration++
	if c.user.pausing != nil {
		c.user.pausing.Stop()
	}
	return c.tell(s, c.user.standing(c.participant))
}

// tell is run for whoever holds the lock.
func (c *call) tell(s *openBarrier, participant string) error {
	before := c.user.runsAs(participant)
	if before == participant {
		return nil
	}
	tell := func(kind core.Kind, id string) error {
		_, err := s.Do(c.ctx, core.Request{Owner: c.owner, Kind: kind}, id, "")
		return err //nolint:wrapcheck // of the same call
	}
	if participant != "" {
		if err := s.standIns.begin(participant, func() error { return tell(core.Begin, participant) }); err != nil {
			return err
		}
	}
	if before == "" {
		return nil
	}
	return s.standIns.end(before, func() error { return tell(core.End, before) })
}

// stand is called before an outcome: whoever reports it for the virtual user stands for it, unless another user is meant.
func (c *call) stand(s *openBarrier) error {
	if !c.own || c.owner == 0 || !c.runs() {
		return nil
	}
	own, _ := c.user.participant(c.owner)
	if c.participant != own && !c.user.isStoodForBy(c.participant) && s.standIns.stand(c.participant) {
		return nil
	}
	c.user.standsBy(c.participant)
	return c.run(s, c.participant)
}

// stepAside is called before a wait for a phase: without an arrival in it the virtual user would wait for itself.
func (c *call) stepAside(s *openBarrier, phase uint32) error {
	if !c.runs() || c.user.hasArrivedIn(phase) || isClosed(s.Gate(phase)) {
		return nil
	}
	return c.run(s, "")
}

// runs reports whether the virtual user is expected while it runs.
func (c *call) runs() bool {
	if c.config.Parties.running == nil {
		return false
	}
	w := &c.inst.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	return c.config.Parties.runIn(w.scenario)
}
