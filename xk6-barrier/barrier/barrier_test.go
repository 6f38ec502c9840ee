package barrier

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAllArriveAndGoOnTogether(t *testing.T) {
	t.Parallel()
	const parties = 20
	p := newProcess(t)
	users := p.users(parties, `const b = new Barrier('default', { parties: 20, timeout: '20s' })`)

	for _, result := range together(users, `b.arriveAndWait()`) {
		var r map[string]any
		require.NoError(t, json.Unmarshal([]byte(result), &r), result)
		assert.GreaterOrEqual(t, r["waitedMs"], 0.0)
		assert.Greater(t, r["releasedAt"], 1.6e12, "epoch milliseconds")
		delete(r, "waitedMs")
		assert.InDelta(t, r["releasedAt"], r["serverReleasedAt"], 500, "one process has one clock, and little to do in between")
		delete(r, "releasedAt")
		delete(r, "serverReleasedAt")
		assert.Equal(t, map[string]any{
			"reason": "all", "outcome": "arrived", "arrived": 20.0, "failed": map[string]any{}, "failedTotal": 0.0,
			"left": 0.0, "parties": 20.0, "phase": 0.0,
		}, r)
	}
}

func TestControllerWaitsWithoutTakingPart(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	script := `const b = new Barrier('default', { parties: 3, reasons: ['login', 'sse'] })`
	users := p.users(4, script)
	released := make(chan string)
	go func() { released <- together(users[3:], `b.wait()`)[0] }()

	indices := together(users[:2], `b.arrive()`)
	slices.Sort(indices)
	assert.Equal(t, []string{
		`{"outcome":"arrived","index":1,"phase":0}`, `{"outcome":"arrived","index":2,"phase":0}`,
	}, indices)
	assert.Equal(t, `{"outcome":"failed","reason":"login","phase":0}`, users[2].json(`b.fail('login')`))

	result := <-released
	assert.Contains(t, result, `{"reason":"all","arrived":2,"failed":{"login":1`)
	assert.NotContains(t, result, "outcome")
	assert.Equal(t, "true", users[3].json(`b.status().releasedAt === b.wait().releasedAt`), "again, at once")
}

func TestFirstOutcomeStands(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 3 })`)
	assert.Equal(t, `{"outcome":"failed","reason":"login","phase":0}`, v.json(`b.fail('login')`))
	assert.Equal(t, `{"outcome":"failed","reason":"login","phase":0}`, v.json(`b.fail('sse')`), "the reason stands too")
	assert.Equal(t, `"failed"`, v.json(`b.arrive().outcome`))
	assert.Equal(t, `[0,{"login":1},1]`, v.json(`[b.status().arrived, b.status().failed, b.status().failedTotal]`))
}

func TestParticipants(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	script := `const b = new Barrier('default', { parties: 10 })`
	one, two := p.user(1, script), p.user(2, script)

	assert.Equal(t, `"arrived"`, one.json(`b.arrive({ participant: 7 }).outcome`))
	assert.Equal(t, `1`, one.json(`b.arrive({ participant: '7' }).index`), "a number is its decimal text")
	assert.Contains(t, two.errorOf(`b.arrive({ participant: '7' })`, `e`), "BarrierConflictError: arrive() failed; reason: ")
	assert.Equal(t, "CONFLICT", two.errorOf(`b.arrive({ participant: 7 })`, `e.code`))
	assert.Equal(t, `"failed"`, two.json(`b.fail('crash', { participant: 'someone else' }).outcome`))

	setup := p.user(0, script)
	for _, call := range []string{`b.arrive()`, `b.fail('x')`, `b.leave()`, `b.arriveAndWait()`} {
		assert.Contains(t, setup.errorOf(call, `e.name + e.message`), `BarrierOptionError`, call)
		assert.Contains(t, setup.errorOf(call, `e.message`), `option "participant": got nothing, allowed is`, call)
	}
	assert.Equal(t, `"arrived"`, setup.json(`b.arrive({ participant: 'setup' }).outcome`))
}

func TestRegisteredParticipantIsTheDefault(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(5, `const b = new Barrier('default', { parties: 2, participant: 'early' });
		const c = new Barrier('other', { parties: 2 }); c.register({ participant: 1 })`)
	v.mustRun(`b.arrive(); c.arrive()`)
	assert.Equal(t, `{"count":1,"ids":["2"]}`, v.json(`c.missing()`))
	assert.Equal(t, `2`, v.json(`b.arrive({ participant: 'late' }).index`))
	assert.Equal(t, `1`, v.json(`b.arrive({ participant: 'early' }).index`))
}

func TestMissingNamesOnlyWhatItCan(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('numbers', { parties: 30 }), c = new Barrier('names', { parties: 3 })`)
	v.mustRun(`b.arrive({ participant: 2 }); c.arrive({ participant: 'x' })`)
	assert.Equal(t, `{"count":29,"ids":["1","3","4"]}`, v.json(`b.missing(3)`))
	assert.Equal(t, `29`, v.json(`b.missing(1000).ids.length`))
	assert.Equal(t, `10`, v.json(`b.missing().ids.length`))
	assert.Equal(t, `{"count":2,"ids":[]}`, v.json(`c.missing()`))
}

func TestStatus(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 2, reasons: ['login'] })`)
	const some = `(({ name, store, parties, phase, arrived, failedTotal, left, late, missing, released, releasedAt, broken }) =>
		[name, store, parties, phase, arrived, failedTotal, left, late, missing, released, releasedAt === null, broken])(b.status())`

	assert.Equal(t, `["default","memory",2,0,0,0,0,0,2,[],true,null]`, v.json(some), "not open yet")
	v.mustRun(`b.arrive()`)
	assert.Equal(t, `["default","memory",2,0,1,0,0,0,1,[],true,null]`, v.json(some))
	v.mustRun(`b.fail('login', { participant: 'two' }); b.wait(); b.arrive({ participant: 'three' })`)
	assert.Equal(t, `["default","memory",2,0,1,1,0,1,0,[0],false,null]`, v.json(some))

	other := p.user(0, `const b = new Barrier('default', { parties: 2, reasons: ['login'] })`)
	assert.Equal(t, `["default","memory",2,0,1,1,0,1,0,[0],false,null]`, other.json(some), "as handleSummary sees it")
}

func TestQuorumLateAndLeave(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const pass = new Barrier('pass', { parties: 4, release: '50%' });
		const strict = new Barrier('strict', { parties: 2, release: 1, late: 'error' })`)
	v.mustRun(`pass.arrive({ participant: 'a' })`)
	assert.Equal(t, `"quorum"`, v.json(`pass.arriveAndWait({ participant: 'b' }).reason`))
	assert.Equal(t, `["late","late",2]`,
		v.json(`(({ reason, outcome, arrived }) => [reason, outcome, arrived])(pass.arriveAndWait({ participant: 'c' }))`))
	assert.Equal(t, `{"outcome":"late","phase":0}`, v.json(`pass.arrive({ participant: 'd' })`))

	v.mustRun(`strict.arrive({ participant: 'a' })`)
	for _, call := range []string{"arrive", "arriveAndWait"} {
		assert.Equal(t, "BarrierLateError: "+call+"() failed; reason: barrier \"strict\": "+call+
			" came after the release of phase 0, and late is 'error',LATE",
			v.errorOf(fmt.Sprintf(`strict.%s({ participant: '%[1]s' })`, call), `[e, e.code]`))
	}

	v.mustRun(`const small = new Barrier('small', { parties: 2 }); small.leave({ participant: 'a' })`)
	assert.Equal(t, `["all",1,1]`, v.json(`(({ reason, arrived, left }) => [reason, arrived, left])(small.arriveAndWait())`))
}

func TestAbortBreaksItForEveryone(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	script := `const b = new Barrier('default', { parties: 9 })`
	users := p.users(3, script)
	failures := make(chan []string)
	go func() {
		failures <- together(users[:2], `(() => { try { b.arriveAndWait() } catch (e) { return [e.name, e.code, e.message] } })()`)
	}()
	require.Eventually(t, func() bool { return users[2].json(`b.status().arrived`) == "2" }, wakeLimit, wakeTick)

	assert.Equal(t, `{"broken":true,"phase":0}`, users[2].json(`b.abort('the target is down')`))
	for _, failure := range <-failures {
		assert.Equal(t, `["BarrierBrokenError","BROKEN",`+
			`"arriveAndWait() failed; reason: barrier \"default\" is broken (abort): the target is down"]`, failure)
	}
	for _, call := range []string{`b.arrive()`, `b.wait()`, `b.fail('x')`, `b.leave()`} {
		assert.Equal(t, "BarrierBrokenError,abort", users[2].errorOf(call, `[e.name, e.status.broken.reason]`), call)
	}
	assert.Contains(t, p.messages(), `barrier "default": aborted: the target is down`)
}

func TestAbortAfterTheReleaseSaysThatItDidNothing(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 1 })`)
	v.mustRun(`b.arrive()`)
	assert.Equal(t, `{"broken":false,"phase":0}`, v.json(`b.abort('too late')`))
	assert.Equal(t, `"all"`, v.json(`b.wait().reason`))
}

func TestTooManyFailuresBreakIt(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 5, maxFailures: 1 })`)
	v.mustRun(`b.fail('login', { participant: 1 })`)
	v.mustRun(`try { b.fail('login', { participant: 2 }) } catch (e) { if (e.name !== 'BarrierBrokenError') throw e }`)
	assert.Equal(t, "BarrierBrokenError,maxFailures", v.errorOf(`b.wait()`, `[e.name, e.status.broken.reason]`))
}

func TestPhases(t *testing.T) {
	t.Parallel()
	const parties, rounds = 5, 20
	p := newProcess(t)
	script := fmt.Sprintf(`const b = new Barrier('loop', { parties: %d, cyclic: true })`, parties)
	users := p.users(parties, script)
	spectator := p.user(99, script)
	spectator.mustRun(`b.missing()`) // opens it in phase 0

	var want []string
	for phase := range rounds {
		want = append(want, strconv.Itoa(phase))
	}
	all := "[" + strings.Join(want, ",") + "]"
	for _, phases := range together(users, fmt.Sprintf(`Array.from({ length: %d }, () => b.arriveAndWait().phase)`, rounds)) {
		assert.Equal(t, all, phases)
	}
	assert.Equal(t, fmt.Sprint(rounds), spectator.json(`b.status().phase`))
}

func TestSpectatorSeesOnePhaseAfterTheOther(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('loop', { parties: 1, cyclic: true })`)
	spectator := p.user(2, `const b = new Barrier('loop', { parties: 1, cyclic: true })`)
	spectator.mustRun(`b.missing()`)
	v.mustRun(`b.arriveAndWait(); b.arriveAndWait(); b.arriveAndWait()`)
	assert.Equal(t, `[0,1,2]`, spectator.json(`[b.wait().phase, b.wait().phase, b.wait().phase]`))
	assert.Equal(t, "BarrierTimeoutError", spectator.errorOf(`b.wait({ timeout: 20 })`, `e.name`))
	assert.Equal(t, `[2,2]`, v.json(`[b.wait().phase, b.wait().phase]`), "the phase of its arrival")

	newcomer := p.user(3, `const b = new Barrier('loop', { parties: 1, cyclic: true })`)
	assert.Equal(t, `0`, newcomer.json(`b.wait().phase`), "from the phase that was open when the process opened it")
}

func TestEveryCallIsRefusedInTheInitContext(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.initUser(1)
	v.mustRun(`const b = new Barrier('default', { parties: 1 });
		const q = new QueueCounter({ redis: 'redis://127.0.0.1:1', keys: ['k'] })`)
	for _, call := range []string{
		`b.arrive()`, `b.fail('x')`, `b.leave()`, `b.arriveAndWait()`, `b.wait()`, `b.missing()`, `b.abort('x')`,
		`b.status()`, `q.counts()`, `q.total()`, `q.waitFor(1)`, `q.command('GET', 'k')`,
	} {
		name := call[2:strings.Index(call, "(")]
		assert.Contains(t, v.errorOf(call, `e`), name+"() failed; reason: the init context has no virtual user yet", call)

		_, err := v.run(strings.Replace(call, "."+name, ".async"+strings.ToUpper(name[:1])+name[1:], 1))
		if name != "status" {
			require.ErrorContains(t, err, "the init context has no virtual user yet", call)
		}
	}
}
