package barrier

import (
	"strings"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// Barrier is the class of the same name. k6 shows its exported methods to JavaScript, with a lower-case first letter.
type Barrier struct {
	inst   *instance
	config *config
	user   *user
}

// newBarrier is `new Barrier(name, options)`. It checks the options and does nothing else, so that it may be called in
// the init context.
func (i *instance) newBarrier(call sobek.ConstructorCall) *sobek.Object {
	const name = "new Barrier"
	c, participant, err := i.readConfig(call.Argument(0), call.Argument(1))
	if err != nil {
		i.throw(wrapError(name, err))
	}
	u := i.user(c)
	if participant != nil {
		u.register(participant)
	}
	if len(c.FailUnaccounted) > 0 {
		i.root.watch.add(c)
	}
	return i.object(&Barrier{inst: i, config: c, user: u}, call)
}

// user is what this virtual user has done at the barrier.
func (i *instance) user(c *config) *user {
	i.mu.Lock()
	defer i.mu.Unlock()
	u, known := i.users[c.identity]
	if !known {
		u = newUser(c)
		i.users[c.identity] = u
	}
	return u
}

// object wraps a Go value as an instance of the class that is being constructed.
func (i *instance) object(v any, call sobek.ConstructorCall) *sobek.Object {
	object := i.vu.Runtime().ToValue(v).ToObject(i.vu.Runtime())
	if err := object.SetPrototype(call.This.Prototype()); err != nil {
		i.throw(err)
	}
	return object
}

// Arrive records an arrival and does not wait for the others.
func (b *Barrier) Arrive(fc sobek.FunctionCall) sobek.Value {
	return b.inst.sync(b.arrive("arrive", fc))
}

// AsyncArrive is Arrive with a promise.
func (b *Barrier) AsyncArrive(fc sobek.FunctionCall) sobek.Value {
	return b.inst.async(b.arrive("asyncArrive", fc))
}

func (b *Barrier) arrive(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, fc.Argument(0), "participant")
	if err != nil {
		return failedTask(err)
	}
	return c.task(func() (jsValue, error) { return c.outcome(core.Arrive, "") })
}

// Fail records that a participant will not arrive in this phase, and why.
func (b *Barrier) Fail(fc sobek.FunctionCall) sobek.Value {
	return b.inst.sync(b.fail("fail", fc))
}

// AsyncFail is Fail with a promise.
func (b *Barrier) AsyncFail(fc sobek.FunctionCall) sobek.Value {
	return b.inst.async(b.fail("asyncFail", fc))
}

func (b *Barrier) fail(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, fc.Argument(1), "participant")
	if err != nil {
		return failedTask(err)
	}
	reason, ok := fc.Argument(0).Export().(string)
	if !ok || !isReason(reason) {
		return failedTask(newOptionError("reason", describe(fc.Argument(0)),
			"a string such as 'login': a lower-case letter, then up to 31 of a-z, 0-9, - and _").of(name))
	}
	return c.task(func() (jsValue, error) { return c.outcome(core.Fail, reason) })
}

// isReason reports whether s is [a-z][a-z0-9_-]{0,31}.
func isReason(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	return s != "" && len(s) <= 32 && strings.Contains(letters, s[:1]) && strings.Trim(s, letters+"0123456789_-") == ""
}

// Leave takes a participant off the barrier.
func (b *Barrier) Leave(fc sobek.FunctionCall) sobek.Value {
	return b.inst.sync(b.leave("leave", fc))
}

// AsyncLeave is Leave with a promise.
func (b *Barrier) AsyncLeave(fc sobek.FunctionCall) sobek.Value {
	return b.inst.async(b.leave("asyncLeave", fc))
}

func (b *Barrier) leave(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, fc.Argument(0), "participant")
	if err != nil {
		return failedTask(err)
	}
	return c.task(func() (jsValue, error) { return c.outcome(core.Leave, "") })
}

// ArriveAndWait arrives and waits for the release.
func (b *Barrier) ArriveAndWait(fc sobek.FunctionCall) sobek.Value {
	return b.inst.sync(b.arriveAndWait("arriveAndWait", fc))
}

// AsyncArriveAndWait is ArriveAndWait with a promise.
func (b *Barrier) AsyncArriveAndWait(fc sobek.FunctionCall) sobek.Value {
	return b.inst.async(b.arriveAndWait("asyncArriveAndWait", fc))
}

func (b *Barrier) arriveAndWait(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, fc.Argument(0), "participant", "timeout")
	if err != nil {
		return failedTask(err)
	}
	return c.task(c.arriveAndWait)
}

// Wait waits for a release without taking part.
func (b *Barrier) Wait(fc sobek.FunctionCall) sobek.Value {
	return b.inst.sync(b.wait("wait", fc))
}

// AsyncWait is Wait with a promise.
func (b *Barrier) AsyncWait(fc sobek.FunctionCall) sobek.Value {
	return b.inst.async(b.wait("asyncWait", fc))
}

func (b *Barrier) wait(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, fc.Argument(0), "timeout")
	if err != nil {
		return failedTask(err)
	}
	return c.task(c.wait)
}

// Missing says how many participants have no outcome, and names some where that is possible.
func (b *Barrier) Missing(fc sobek.FunctionCall) sobek.Value {
	return b.inst.sync(b.missing("missing", fc))
}

// AsyncMissing is Missing with a promise.
func (b *Barrier) AsyncMissing(fc sobek.FunctionCall) sobek.Value {
	return b.inst.async(b.missing("asyncMissing", fc))
}

func (b *Barrier) missing(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, nil)
	if err != nil {
		return failedTask(err)
	}
	limit := int64(shownMissing)
	if v := fc.Argument(0); !common.IsNullish(v) {
		n, ok := wholeNumber(v)
		if !ok || n < 0 || n > maxMissing {
			return failedTask(newOptionError("limit", describe(v), "a whole number from 0 to 1000").of(name))
		}
		limit = n
	}
	return c.task(func() (jsValue, error) { return c.missing(uint32(limit)) }) //nolint:gosec // at most 1000
}

// Abort breaks the barrier for everyone.
func (b *Barrier) Abort(fc sobek.FunctionCall) sobek.Value {
	return b.inst.sync(b.abort("abort", fc))
}

// AsyncAbort is Abort with a promise.
func (b *Barrier) AsyncAbort(fc sobek.FunctionCall) sobek.Value {
	return b.inst.async(b.abort("asyncAbort", fc))
}

func (b *Barrier) abort(name string, fc sobek.FunctionCall) task {
	c, err := b.begin(name, nil)
	if err != nil {
		return failedTask(err)
	}
	why, ok := fc.Argument(0).Export().(string)
	if !ok || why == "" || len(why) > maxAbortReason {
		return failedTask(newOptionError("why", describe(fc.Argument(0)), "a string of 1 to 1024 bytes").of(name))
	}
	return c.task(func() (jsValue, error) { return c.abort(why) })
}

// Register says which participant stands for this virtual user from now on.
func (b *Barrier) Register(fc sobek.FunctionCall) sobek.Value {
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

// Status is the barrier as this process knows it; it does no I/O and never waits.
func (b *Barrier) Status(sobek.FunctionCall) sobek.Value {
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
	return &core.BarrierStatus{Name: c.Name, RunID: c.RunID, Store: store, Parties: uint64(c.Parties)}, nil //nolint:gosec // checked
}
