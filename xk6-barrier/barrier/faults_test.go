package barrier

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/js/modulestest"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// faulty is the real core, except for what cannot be made to fail on demand.
type faulty struct {
	core.Engine

	pipe   io.Closer
	submit func() core.Status
	refuse core.Kind // the only one that submit is asked for, where it is set
}

func (f *faulty) Start() (io.ReadCloser, error) {
	pipe, err := f.Engine.Start()
	f.pipe = pipe
	return pipe, err
}

func (f *faulty) Submit(r *core.Request, token uint64, participant, reason string, frame *core.Frame) core.Status {
	if f.submit != nil && (f.refuse == 0 || f.refuse == r.Kind) {
		return f.submit()
	}
	return f.Engine.Submit(r, token, participant, reason, frame)
}

// newFaultyProcess is a process whose core can be made to fail.
func newFaultyProcess(t *testing.T) (*process, *faulty) {
	t.Helper()
	p := newProcess(t)
	engine, err := p.root.newEngine()
	require.NoError(t, err)
	f := &faulty{Engine: engine}
	p.root.newEngine = func() (core.Engine, error) { return f, nil }
	return p, f
}

func TestStatusesWithoutAnErrorOfTheirOwn(t *testing.T) {
	t.Parallel()
	p, f := newFaultyProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 2 })`)
	v.mustRun(`b.missing()`)
	for status, want := range map[core.Status]string{
		core.Busy:    "BarrierError,BUSY,arrive() failed; reason: too many calls are under way at once",
		core.Panic:   "BarrierError,PANIC,arrive() failed; reason: the core met a bug of its own",
		core.Closed:  "BarrierError,CLOSED,arrive() failed; reason: the barrier's engine is closed",
		core.Invalid: "BarrierError,INVALID,arrive() failed; reason: the core could not read what it was given, which is a bug of this extension",
	} {
		f.submit = func() core.Status { return status }
		assert.Equal(t, want, v.errorOf(`b.arrive()`, `[e.name, e.code, e.message]`))
	}
}

func TestLosingTheCoreFailsAllWhoWait(t *testing.T) {
	t.Parallel()
	p, f := newFaultyProcess(t)
	users := p.users(3, `const b = new Barrier('default', { parties: 9 })`)
	failures := make(chan []string)
	go func() {
		failures <- together(users, `(() => { try { b.arriveAndWait() } catch (e) { return [e.name, e.code] } })()`)
	}()
	require.Eventually(t, func() bool { return p.waiting("default") == 3 }, wakeLimit, wakeTick)
	require.NoError(t, f.pipe.Close())
	for _, failure := range <-failures {
		assert.Equal(t, `["BarrierError","CLOSED"]`, failure)
	}
	assert.Contains(t, users[0].errorOf(`b.wait()`, `e.message`), "the core is lost: reading the completion pipe")
}

func TestCoreThatCannotBeLoadedIsAnErrorOfTheImport(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.root.newEngine = func() (core.Engine, error) { return nil, core.ErrNoCgo }
	rt := modulestest.NewRuntime(t)
	require.NoError(t, rt.VU.Runtime().Set("load", func() { p.root.NewModuleInstance(rt.VU) }))
	_, err := rt.VU.Runtime().RunString(`load()`)
	require.ErrorContains(t, err, "CGO_ENABLED=1")
}

func TestClosedEngineEndsWaits(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 2 })`)
	failure := make(chan []string)
	go func() {
		failure <- together([]*virtualUser{v}, `(() => { try { b.arriveAndWait() } catch (e) { return e.message } })()`)
	}()
	require.Eventually(t, func() bool { return p.waiting("default") == 1 }, wakeLimit, wakeTick)
	p.root.client.Close(time.Second)
	assert.Equal(t, `"arriveAndWait() failed; reason: the barrier's engine is closed"`, (<-failure)[0])
}

func TestStoreThatRefusesTheLastLookIsAnErrorOfTheStore(t *testing.T) {
	t.Parallel()
	p, f := newFaultyProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 2, timeout: 10 })`)
	v.mustRun(`b.arrive()`)
	f.submit, f.refuse = func() core.Status { return core.Store }, core.Expire
	assert.Regexp(t, `^BarrierStoreError,wait\(\) failed; reason: barrier "default": not released within [0-9.]+ms: 1 of 2 arrived, `+
		`1 missing; the store could not be asked any more: the store did not answer,1$`, v.errorOf(`b.wait()`, `[e.name, e.message, e.status.arrived]`))
	assert.Equal(t, []float64{0, 1}, values(p.collected("barrier_timeouts")), "it timed out all the same")
}
