package barrier

import (
	"slices"
	"strings"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/class"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

// barrierObject is what a script has of a barrier: an instance of the class Barrier.
type barrierObject struct {
	class.Hidden

	inst   *instance
	config *config
	user   *user
}

// barrierMethods are those of the class Barrier.
var barrierMethods = slices.Concat( //nolint:gochecknoglobals // a constant that Go has no constant form for
	twins("arrive", (*barrierObject).arrive),
	twins("fail", (*barrierObject).fail),
	twins("leave", (*barrierObject).leave),
	twins("arriveAndWait", (*barrierObject).arriveAndWait),
	twins("wait", (*barrierObject).wait),
	twins("missing", (*barrierObject).missing),
	twins("abort", (*barrierObject).abort),
	twins("close", (*barrierObject).close),
	[]class.Method[*barrierObject]{
		{Name: "register", Call: (*barrierObject).register},
		{Name: "status", Call: (*barrierObject).status},
	},
)

func (b *barrierObject) module() *instance { return b.inst }

// newBarrier is `new Barrier(name, options)`. It checks the options and does nothing else, so that it may be called in
// the init context.
func (i *instance) newBarrier(call sobek.ConstructorCall) *barrierObject {
	const name = "new Barrier"
	c, participant, err := i.readConfig(call.Argument(0), call.Argument(1))
	if err != nil {
		i.throw(wrapError(name, err))
	}
	u := i.user(c)
	if participant != nil {
		u.register(participant)
	}
	if c.watches() {
		i.root.watch.add(c)
	}
	return &barrierObject{inst: i, config: c, user: u}
}

// user is what this virtual user has done at the barrier.
func (i *instance) user(c *config) *user {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, u := range i.users {
		if u.config.identity == c.identity {
			return u
		}
	}
	i.users = slices.DeleteFunc(i.users, func(u *user) bool { return u.forgetsAt(i.root) })
	u := newUser(c)
	i.users = append(i.users, u)
	return u
}

// arrive records an arrival and does not wait for the others.
func (b *barrierObject) arrive(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, fc.Argument(0), "participant")
	if err != nil {
		return failedTask(err)
	}
	return c.task(func() (jsValue, error) { return c.outcome(core.Arrive, "") })
}

// fail records that a participant will not arrive in this phase, and why.
func (b *barrierObject) fail(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, fc.Argument(1), "participant")
	if err != nil {
		return failedTask(err)
	}
	reason, ok := fc.Argument(0).Export().(string)
	if !ok || !isReason(reason) {
		return failedTask(newOptionError("reason", script.Describe(fc.Argument(0)),
			"a string such as 'login': a lower-case letter, then up to 31 of a-z, 0-9, - and _").of(name))
	}
	return c.task(func() (jsValue, error) { return c.outcome(core.Fail, reason) })
}

// isReason reports whether s is [a-z][a-z0-9_-]{0,31}.
func isReason(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	return s != "" && len(s) <= 32 && strings.Contains(letters, s[:1]) && strings.Trim(s, letters+"0123456789_-") == ""
}

// leave takes a participant off the barrier.
func (b *barrierObject) leave(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, fc.Argument(0), "participant")
	if err != nil {
		return failedTask(err)
	}
	return c.task(func() (jsValue, error) { return c.outcome(core.Leave, "") })
}

// arriveAndWait arrives and waits for the release.
func (b *barrierObject) arriveAndWait(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, fc.Argument(0), "participant", "timeout")
	if err != nil {
		return failedTask(err)
	}
	return c.task(c.arriveAndWait)
}

// wait waits for a release without taking part.
func (b *barrierObject) wait(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, fc.Argument(0), "timeout")
	if err != nil {
		return failedTask(err)
	}
	return c.task(c.wait)
}

// missing says how many participants have no outcome, and names some where that is possible.
func (b *barrierObject) missing(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, nil)
	if err != nil {
		return failedTask(err)
	}
	limit := int64(shownMissing)
	if v := fc.Argument(0); !common.IsNullish(v) {
		n, ok := wholeNumber(v)
		if !ok || n < 0 || n > maxMissing {
			return failedTask(newOptionError("limit", script.Describe(v), "a whole number from 0 to 1000").of(name))
		}
		limit = n
	}
	return c.task(func() (jsValue, error) { return c.missing(uint32(limit)) }) // #nosec G115 -- at most 1000
}

// abort breaks the barrier for everyone.
func (b *barrierObject) abort(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, nil)
	if err != nil {
		return failedTask(err)
	}
	why, ok := fc.Argument(0).Export().(string)
	if !ok || why == "" || len(why) > maxAbortReason {
		return failedTask(newOptionError("why", script.Describe(fc.Argument(0)), "a string of 1 to 1024 bytes").of(name))
	}
	return c.task(func() (jsValue, error) { return c.abort(why) })
}

// register says which participant stands for this virtual user from now on.
func (b *barrierObject) register(fc sobek.FunctionCall) sobek.Value {
	const name = "register"
	given, err := b.inst.readCallOptions(fc.Argument(0), "participant")
	if err == nil && given.participant == nil {
		err = newOptionError("participant", "nothing", allowedParticipant)
	}
	if err != nil {
		b.inst.throw(wrapError(name, err))
	}
	b.user.register(given.participant)
	return sobek.Undefined()
}

// status is the barrier as this process knows it; it does no I/O and never waits.
func (b *barrierObject) status(sobek.FunctionCall) sobek.Value {
	const name = "status"
	if b.inst.vu.State() == nil {
		b.inst.throw(initContextError(name))
	}
	status, err := b.config.status(b.inst.root)
	if err != nil {
		b.inst.throw(wrapError(name, err))
	}
	return statusValue(b.inst.vu.Runtime(), status)
}

// status is that of the open barrier, or of one where nothing has happened yet.
func (c *config) status(r *RootModule) (*core.BarrierStatus, error) {
	if s := c.opened(r); s != nil {
		return s.Status()
	}
	store := memoryStore
	if c.Store != memoryStore {
		store = "redis"
	}
	return &core.BarrierStatus{Name: c.Name, RunID: c.RunID, Store: store, Parties: uint64(c.Parties.count)}, nil // #nosec G115 -- checked
}
