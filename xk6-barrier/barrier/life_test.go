package barrier

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

// remembered is how many barriers that are over a process remembers, with some that have not retired yet.
const remembered = 1000 + 50

func sizeOf(table *sync.Map) int {
	n := 0
	table.Range(func(any, any) bool { n++; return true })
	return n
}

// crossMany crosses barriers one after another, each under a new name.
func crossMany(t *testing.T, p *process, rounds int, options string) *virtualUser {
	t.Helper()
	v := p.user(1, ``)
	v.mustRun(fmt.Sprintf(`for (let n = 0; n < %d; n++) {
		const result = new Barrier('round-' + n, { parties: 1, failUnaccounted: ['users'] %s }).arriveAndWait();
		if (result.arrived !== 1) throw new Error('round ' + n);
	}`, rounds, options))
	return v
}

func assertTablesAreSmall(t *testing.T, p *process) {
	t.Helper()
	tally, err := p.root.client.Tally(t.Context())
	require.NoError(t, err)
	assert.LessOrEqual(t, tally.Barriers, remembered)
	assert.Equal(t, 1000, tally.Retired)
	assert.LessOrEqual(t, tally.Handles, remembered+1, "the barriers and the engine")
	assert.LessOrEqual(t, p.root.client.Barriers(), remembered)
	for name, table := range map[string]*sync.Map{
		"opens": &p.root.opens, "shared": &p.root.shared, "checked": &p.root.checked, "unaccounted": &p.root.unaccounted,
	} {
		assert.LessOrEqual(t, sizeOf(table), remembered, name)
	}
	assert.LessOrEqual(t, len(p.root.watch.barriers), 2)
	p.root.watch.mu.Lock()
	defer p.root.watch.mu.Unlock()
	for _, i := range p.root.watch.instances {
		assert.LessOrEqual(t, len(i.users), 2, "of each virtual user")
	}
}

func TestManyBarriersOneAfterAnotherLeaveLittle(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := crossMany(t, p, 1500, ``)
	assertTablesAreSmall(t, p)

	assert.Equal(t, `["arrived",false]`, v.json(`(b => [b.arrive().outcome, b.status().released.length === 0])
		(new Barrier('round-1499', { parties: 1, failUnaccounted: ['users'] }))`), "it is remembered")
	assert.Equal(t, `"late"`, v.json(`new Barrier('round-1498', { parties: 1, failUnaccounted: ['users'] }).
		arriveAndWait({ participant: 'x' }).outcome`))
	assert.Equal(t, `[1,1]`, v.json(`(b => [b.arriveAndWait().arrived, b.arrive().index])
		(new Barrier('round-0', { parties: 1, failUnaccounted: ['users'] }))`), "it begins anew")
}

func TestManyBarriersOneAfterAnotherLeaveLittleOverRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	p.env[runIDEnv] = "soak"
	options := fmt.Sprintf(`, store: '%s'`, server.URL())
	v := crossMany(t, p, 1200, options)
	require.Eventually(t, func() bool {
		tally, err := p.root.client.Tally(t.Context())
		return err == nil && tally.Retired == 1000 && tally.Barriers <= remembered
	}, wakeLimit, wakeTick)
	v.mustRun(fmt.Sprintf(`new Barrier('last', { parties: 1 %s }).arrive()`, options)) // which sweeps
	assertTablesAreSmall(t, p)
	assert.Equal(t, `["arrived",1]`, v.json(fmt.Sprintf(`(r => [r.outcome, r.arrived])
		(new Barrier('round-0', { parties: 1, failUnaccounted: ['users'] %s }).arriveAndWait())`, options)), "the store knows")
}

func TestCloseEndsWaitsAndUsingItAgainOpensItAnew(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	users := p.users(3, `const b = new Barrier('gate', { parties: 2, cyclic: true })`)
	for _, phase := range together(users[:2], `b.arriveAndWait().phase`) {
		assert.Equal(t, `0`, phase)
	}
	failure := make(chan []string)
	go func() {
		failure <- together(users[:1], `(() => { try { b.arriveAndWait() } catch (e) { return [e.name, e.code, e.message] } })()`)
	}()
	require.Eventually(t, func() bool { return p.waiting("gate") == 1 }, wakeLimit, wakeTick)
	assert.Equal(t, "undefined", users[2].mustRun(`b.close()`).String())
	assert.Equal(t, `["BarrierError","CLOSED","arriveAndWait() failed; reason: the barrier is closed in this process; `+
		`whoever uses it again opens it anew"]`, (<-failure)[0])
	assert.Equal(t, `[0,0]`, users[2].json(`[b.status().arrived, b.status().phase]`))
	users[2].mustRun(`b.close()`) // nothing is open: nothing is done

	for _, phase := range together(users[:2], `b.arriveAndWait().phase`) {
		assert.Equal(t, `0`, phase, "a new one")
	}
	assert.Equal(t, "undefined", users[0].mustRun(`b.asyncClose()`).String())
	tally, err := p.root.client.Tally(t.Context())
	require.NoError(t, err)
	assert.Zero(t, tally.Barriers)
	assert.Zero(t, p.root.client.Barriers())
	assert.Zero(t, sizeOf(&p.root.shared)+sizeOf(&p.root.opens))
}

func TestCloseOverRedisLeavesTheRecord(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	p.env[runIDEnv] = "run-1"
	users := p.users(2, fmt.Sprintf(`const b = new Barrier('gate', { parties: 2, cyclic: true, store: '%s' })`, server.URL()))
	together(users, `b.arriveAndWait()`)
	users[0].mustRun(`b.arrive(); b.close()`)
	assert.Equal(t, `["arrived",1]`, users[0].json(`(r => [r.outcome, r.phase])(b.arrive())`), "it stands")
	assert.Equal(t, `1`, users[1].json(`b.arriveAndWait().phase`))
}

func TestIterationsAreWatchedAfterACloseToo(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('gate', { parties: 2, cyclic: true, failUnaccounted: ['users'] })`
	one, two := p.watched(1, script), p.watched(2, script)
	one.emit("IterStart", "users")
	two.emit("IterStart", "users")
	one.mustRun(`b.arrive(); b.close()`)
	assert.Empty(t, p.root.watch.of("users"), "nobody uses it")
	one.mustRun(`b.arrive()`)
	two.emit("IterEnd", "users")
	assert.Equal(t, `[1,1]`, one.json(`(r => [r.arrived, r.failedTotal])(b.wait())`))
}

func TestAnArrivalCountsOnceHoweverOftenTheBarrierIsOpened(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	p.env[runIDEnv] = "r"
	v := p.user(1, fmt.Sprintf(`const b = new Barrier('gate', { parties: 2, cyclic: true, store: '%s' })`, server.URL()))
	v.mustRun(`b.arrive(); b.close(); b.arrive(); b.close()`)
	over := make(chan error, 1)
	go func() {
		_, err := v.run(`b.arriveAndWait()`)
		over <- err
	}()
	last := p.user(2, fmt.Sprintf(`const b = new Barrier('gate', { parties: 2, cyclic: true, store: '%s' })`, server.URL()))
	eventually(t, func() bool { return p.waiting("gate") == 1 }, "it waits")
	last.mustRun(`b.leave()`)
	require.NoError(t, <-over)
	assert.InDelta(t, 1, p.arrivals(), 0)
}

func TestWhatIsTakenBackIsNoLaterOutcome(t *testing.T) {
	t.Parallel()
	u := newUser(&config{})
	first := u.enter(3, "1")
	second := u.enter(4, "1")
	u.revoke(first)
	assert.True(t, u.isAccounted(), "by the second one")
	u.revoke(second)
	assert.True(t, u.isAccounted(), "by the first one, which may stand")
	both := newUser(&config{})
	first = both.enter(3, "1")
	both.revoke(both.enter(4, "1"))
	both.revoke(first)
	assert.False(t, both.isAccounted())
}

// When a barrier times out, all of its users ask at once who is missing.
func TestOneSearchNamesTheMissingForAll(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	searches := &searching{}
	engine, err := p.root.newEngine()
	require.NoError(t, err)
	searches.Engine = engine
	p.root.newEngine = func() (core.Engine, error) { return searches, nil }
	users := make([]*virtualUser, 50)
	for at := range users {
		users[at] = p.user(uint64(at+1), //nolint:gosec // small
			fmt.Sprintf(`const b = new Barrier('gate', { parties: 60, timeout: '300ms' }), participant = %d`, at+1))
	}
	for _, user := range users { // however slowly: nobody else is to be missing
		user.mustRun(`b.arrive({ participant })`)
	}
	for _, told := range together(users, `(() => { try { b.arriveAndWait({ participant }) } catch (e) { return e.message } })()`) {
		require.Contains(t, told, "missing 51, 52")
	}
	assert.LessOrEqual(t, searches.n.Load(), int64(2), "one, and one more where a second has passed")
}

// searching is the real core, which counts how often somebody asks who is missing.
type searching struct {
	core.Engine

	n atomic.Int64
}

func (e *searching) Query(handle, token uint64, question []byte) core.Status {
	if strings.Contains(string(question), "missing") {
		e.n.Add(1)
	}
	return e.Engine.Query(handle, token, question)
}

// announcing is the real core, which says what it is asked for.
type announcing struct {
	core.Engine

	opened, submitted chan struct{}
}

func (e *announcing) Open(token uint64, options []byte) (uint64, core.Status) {
	handle, status := e.Engine.Open(token, options)
	e.opened <- struct{}{}
	return handle, status
}

func (e *announcing) Submit(r *core.Request, token uint64, participant, reason string, frame *core.Frame) core.Status {
	status := e.Engine.Submit(r, token, participant, reason, frame)
	e.submitted <- struct{}{}
	return status
}

// Another scenario's options name other reasons, so that they are another opening of the same barrier.
func TestOpeningDuringACloseOpensItAnew(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	p.env[runIDEnv] = "r"
	e := &announcing{opened: make(chan struct{}, 10), submitted: make(chan struct{}, 10)}
	engine, err := p.root.newEngine()
	require.NoError(t, err)
	e.Engine = engine
	p.root.newEngine = func() (core.Engine, error) { return e, nil }
	script := func(more string) string {
		return fmt.Sprintf(`const b = new Barrier('gate', { parties: 3, cyclic: true, store: '%s' %s })`, server.URL(), more)
	}
	closes, waits, opens := p.user(1, script(``)), p.user(2, script(``)), p.user(3, script(`, reasons: ['x']`))
	run := func(v *virtualUser, code string) <-chan string {
		result := make(chan string, 1)
		go func() { result <- together([]*virtualUser{v}, code)[0] }()
		return result
	}
	waiting := run(waits, `(() => { try { return b.arriveAndWait().phase } catch (e) { return e.code } })()`)
	require.Eventually(t, func() bool { return p.waiting("gate") == 1 }, wakeLimit, wakeTick)
	<-e.opened
	<-e.submitted

	require.NoError(t, server.Do(t.Context(), "CLIENT", "PAUSE", "60000", "WRITE").Err())
	closing := run(closes, `b.close()`)
	<-e.submitted
	opening := run(opens, `b.arrive().outcome`)
	<-e.opened
	require.NoError(t, server.Do(t.Context(), "CLIENT", "UNPAUSE").Err())
	assert.Equal(t, `undefined`, <-closing)
	assert.Equal(t, `"CLOSED"`, <-waiting)
	assert.Equal(t, `"arrived"`, <-opening)
	assert.Equal(t, `"arrived"`, closes.json(`b.arrive().outcome`))
	assert.Equal(t, 1, p.root.client.Barriers())
}

// neverAnswered is the real core, except that outcomes stand and are never acknowledged.
type neverAnswered struct {
	core.Engine

	submitted chan struct{}
}

func (e *neverAnswered) Submit(_ *core.Request, token uint64, _, _ string, frame *core.Frame) core.Status {
	*frame = core.Frame{Token: token, Kind: core.FrameDone, Outcome: core.OutcomeArrived, Flags: core.First}
	close(e.submitted)
	return core.Pending
}

func TestArrivalThatIsCutOffCounts(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	engine, err := p.root.newEngine()
	require.NoError(t, err)
	e := &neverAnswered{engine, make(chan struct{})}
	p.root.newEngine = func() (core.Engine, error) { return e, nil }
	p.root.outbox.gather() // as with an end of the test to wait for
	v := p.user(1, `const b = new Barrier('gate', { parties: 2 })`)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = v.run(`b.arriveAndWait()`)
	}()
	<-e.submitted
	v.cancel()
	<-ended
	p.root.outbox.flush()
	assert.InDelta(t, 1, p.arrivals(), 0, "it stands in the ledger")
	assert.Empty(t, p.collected("barrier_wait_duration"))
}
