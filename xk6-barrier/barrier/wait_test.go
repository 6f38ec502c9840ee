package barrier

import (
	"context"
	"testing"
	"time"

	"github.com/grafana/sobek"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

func TestTimeoutSaysWhoIsMissing(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 14, timeout: 50, reasons: ['login'] })`)
	v.mustRun(`for (const participant of [1, 2, 14]) b.arrive({ participant }); b.fail('login', { participant: 3 })`)

	assert.Regexp(t, `^BarrierTimeoutError: wait\(\) failed; reason: barrier "default": not released within [0-9.]+ms: `+
		`3 of 14 arrived, 1 failed \(login 1\), missing 4, 5, 6, 7, 8, 9, 10, 11, 12, 13$`, v.errorOf(`b.wait()`, `e`))
	assert.Equal(t, "true,true,BarrierTimeoutError,TIMEOUT,false,3,10", v.errorOf(`b.wait({ timeout: '20ms' })`,
		`[e instanceof Error, e.stack.includes('wait() failed'), e.name, e.code, e.pending, e.status.arrived, e.status.missing]`))
}

func TestArrivalStandsAfterATimeout(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	script := `const b = new Barrier('default', { parties: 2, cyclic: true, timeout: 30 })`
	one, two := p.user(1, script), p.user(2, script)
	assert.Equal(t, "BarrierTimeoutError,1", one.errorOf(`b.arriveAndWait()`, `[e.name, e.status.arrived]`))
	assert.Equal(t, "BarrierTimeoutError,1", one.errorOf(`b.arriveAndWait()`, `[e.name, e.status.arrived]`), "it rejoins")

	two.mustRun(`b.arrive()`)
	const result = `(({ phase, reason, outcome }) => [phase, reason, outcome])(b.arriveAndWait())`
	assert.Equal(t, `[0,"all","arrived"]`, one.json(result), "released meanwhile: that release")
	assert.Equal(t, "BarrierTimeoutError,1", one.errorOf(`b.arriveAndWait()`, `[e.name, e.status.phase]`), "the next phase")
}

func TestOnTimeout(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	script := `const releases = new Barrier('releases', { parties: 4, timeout: 50, onTimeout: 'release' });
		const aborts = new Barrier('aborts', { parties: 4, timeout: 50, onTimeout: 'abort' })`
	users := p.users(3, script)
	for _, user := range users { // however slowly: who came after the end would be late
		user.mustRun(`releases.arrive(); aborts.arrive()`)
	}
	for _, result := range together(users, `(({ reason, arrived }) => [reason, arrived])(releases.arriveAndWait())`) {
		assert.Equal(t, `["timeout",3]`, result)
	}
	for _, result := range together(users, `(() => { try { aborts.arriveAndWait() } catch (e) { return [e.name, e.status.broken.reason] } })()`) {
		assert.Equal(t, `["BarrierBrokenError","timeout"]`, result)
	}
}

func TestErrorWithCountsComesBeforeTheLimitOfK6(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(0, `const b = new Barrier('default', { parties: 5, timeout: '5m' })`)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	v.VU.CtxField = ctx

	message := v.errorOf(`b.wait()`, `e.message`)
	require.NoError(t, ctx.Err(), "before the limit")
	assert.Regexp(t, `^wait\(\) failed; reason: barrier "default": not released within [0-9.]+s `+
		`\(kept below the [0-9.]+m?s that k6 allows here, see setupTimeout and teardownTimeout\): 0 of 5 arrived, missing 1, 2, 3, 4, 5$`, message)
}

func TestEndOfTheIterationEndsAWait(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 5 }); let caught = false`)
	observer := p.user(2, `const b = new Barrier('default', { parties: 5 })`)
	ended := make(chan error)
	go func() {
		_, err := v.run(`try { b.arriveAndWait() } catch { caught = true } finally { caught = true }`)
		ended <- err
	}()
	require.Eventually(t, func() bool { return observer.json(`b.status().arrived`) == "1" }, wakeLimit, wakeTick)
	v.cancel()

	var interrupted *sobek.InterruptedError
	require.ErrorAs(t, <-ended, &interrupted, "as k6 itself ends JavaScript")
	assert.Equal(t, "false", v.json(`caught`), "no catch clause sees it")
	assert.Equal(t, "1", observer.json(`b.status().arrived`), "the arrival stands")
}

func TestWaitInsideAHandlerThatBlocksTheEventLoop(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	script := `const b = new Barrier('default', { parties: 2, timeout: '20s' }); const results = []`
	users := p.users(2, script)
	for _, v := range users {
		// open() runs its handler before it returns, as k6/x/sse does.
		require.NoError(t, v.VU.Runtime().Set("open", func(handler sobek.Callable) error {
			_, err := handler(sobek.Undefined())
			return err
		}))
	}
	for _, result := range together(users, `(() => { open(() => results.push(b.arriveAndWait().reason)); return results })()`) {
		assert.Equal(t, `["all"]`, result)
	}
}

// The whole result of each way in which a phase can end well.
func TestEachReleaseSaysWhyItEnded(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const open = (name, options) => new Barrier(name, { parties: 4, timeout: 20, reasons: ['login'], ...options })`)
	release := func(name string) {
		p.root.shared.Range(func(_, found any) bool {
			if s := found.(*openBarrier); s.config.Name == name { //nolint:forcetypeassert // the map holds nothing else
				_, err := s.Do(t.Context(), core.Request{Kind: core.ReleaseNow}, "", "")
				assert.NoError(t, err)
			}
			return true
		})
	}
	require.NoError(t, v.VU.Runtime().Set("releaseByHand", release))
	tests := map[string]struct{ code, want string }{
		"all": {
			`const b = open('all', {}); b.fail('login', { participant: 2 }); b.leave({ participant: 3 }); b.arrive({ participant: 4 }); `,
			`["all","arrived",2,{"login":1},1,1,4,0]`,
		},
		"quorum as a number": {
			`const b = open('number', { release: 2 }); b.arrive({ participant: 4 }); `, `["quorum","arrived",2,{},0,0,4,0]`,
		},
		"quorum as a percentage of those who have not left": {
			`const b = open('percentage', { release: '51%' }); b.leave({ participant: 3 }); b.arrive({ participant: 4 }); `,
			`["quorum","arrived",2,{},0,1,4,0]`,
		},
		"timeout": {
			`const b = open('timeout', { onTimeout: 'release' }); b.fail('sse', { participant: 3 }); `,
			`["timeout","arrived",1,{"sse":1},1,0,4,0]`,
		},
		"operator": {
			`const b = open('operator', {}); b.arrive({ participant: 1 }); releaseByHand('operator'); `,
			`["operator","arrived",1,{},0,0,4,0]`,
		},
		"late": {
			`const b = open('late', { release: 1 }); b.arrive({ participant: 4 }); `, `["late","late",1,{},0,0,4,0]`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, v.mustRun(`(() => { `+test.code+`const started = Date.now(), r = b.arriveAndWait({ participant: 1 });
				if (!(r.waitedMs >= 0 && r.waitedMs <= Date.now() - started + 1)) throw new Error('waitedMs ' + r.waitedMs);
				if (!(Math.abs(r.releasedAt - Date.now()) < 60_000)) throw new Error('releasedAt ' + r.releasedAt);
				if (b.status().releasedAt !== r.releasedAt) throw new Error('another instant than that of status()');
				return JSON.stringify([r.reason, r.outcome, r.arrived, r.failed, r.failedTotal, r.left, r.parties, r.phase]) })()`).String())
		})
	}
}

func TestCallsHaveATimeoutAndAParticipantOfTheirOwn(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 3, timeout: '1h' })`)
	assert.Equal(t, "BarrierTimeoutError", v.errorOf(`b.wait({ timeout: 10 })`, `e.name`))
	assert.Equal(t, "BarrierTimeoutError", v.errorOf(`b.arriveAndWait({ timeout: '10ms', participant: 2 })`, `e.name`))
	assert.Equal(t, `{"count":2,"ids":["1","3"]}`, v.json(`b.missing()`))
}

func TestMoreFailuresThanAllowedBreakTheBarrier(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	users := p.users(3, `const b = new Barrier('default', { parties: 9, maxFailures: 1, timeout: '20s' })`)
	broken := make(chan string)
	go func() {
		broken <- together(users[:1], `(() => { try { b.arriveAndWait() } catch (e) { return [e.name, e.status.broken.reason, e.status.failedTotal] } })()`)[0]
	}()
	require.Eventually(t, func() bool { return p.waiting("default") == 1 }, wakeLimit, wakeTick)
	assert.Equal(t, `"failed"`, users[1].json(`b.fail('login').outcome`), "one may fail")
	_, _ = users[2].run(`b.fail('login')`)
	assert.Equal(t, `["BarrierBrokenError","maxFailures",2]`, <-broken)
	assert.Equal(t, "BarrierBrokenError", users[1].errorOf(`b.arrive()`, `e.name`), "for good")
}

// After a time-out the arrival stands, for each participant that a virtual user speaks for.
func TestEachParticipantRejoinsItsPhase(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 3, cyclic: true, timeout: 10 });
		const end = (participant, timeout) => { try { const r = b.arriveAndWait({ participant, timeout }); return r.phase + r.reason } catch (e) { return e.name } }`)
	assert.Equal(t, `["BarrierTimeoutError","BarrierTimeoutError","0all"]`, v.json(`['a', 'b', 'c'].map((id) => end(id))`))
	assert.Equal(t, `["0all","0all","BarrierTimeoutError"]`, v.json(`['a', 'b', 'c'].map((id) => end(id))`),
		"who timed out gets the release of its own phase, who got it goes on")
	assert.Equal(t, `["BarrierTimeoutError","1all","1all"]`, v.json(`['a', 'b', 'c'].map((id) => end(id))`))

	one := p.user(2, `const b = new Barrier('one', { parties: 2, cyclic: true, timeout: 10 })`)
	assert.Equal(t, "BarrierTimeoutError", one.errorOf(`b.arriveAndWait({ participant: 1 })`, `e.name`))
	one.mustRun(`b.arrive({ participant: 2 })`)
	assert.Equal(t, `0`, one.json(`b.wait().phase`))
	assert.Equal(t, "BarrierTimeoutError,1", one.errorOf(`b.arriveAndWait({ participant: 1 })`, `[e.name, e.status.phase]`),
		"wait() returned the release of its arrival already")
}

func TestArriveAndWaitOfWhoCannotArrive(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 3, cyclic: true, timeout: '20s' })`)
	other := p.user(2, `const b = new Barrier('default', { parties: 3, cyclic: true, timeout: '20s' })`)
	v.mustRun(`b.fail('login'); b.leave({ participant: 'gone' })`)
	const result = `(({ outcome, reason, phase }) => [outcome, reason, phase])`
	for phase, test := range []struct{ call, want string }{
		{`b.arriveAndWait()`, `["failed","all",0]`},
		{`b.arriveAndWait({ participant: 'gone' })`, `["left","all",1]`},
	} {
		waited := make(chan []string)
		go func() { waited <- together([]*virtualUser{v}, result+`(`+test.call+`)`) }()
		require.Eventually(t, func() bool { return p.waiting("default") == 1 }, wakeLimit, wakeTick)
		other.mustRun(`b.arrive({ participant: 'other' })`)
		if phase == 1 {
			other.mustRun(`b.arrive({ participant: 'another' })`)
		}
		assert.Equal(t, []string{test.want}, <-waited)
	}
}
