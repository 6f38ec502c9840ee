package barrier

import (
	"context"
	"testing"
	"time"

	"github.com/grafana/sobek"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTimeoutSaysWhoIsMissing(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 14, timeout: 50, reasons: ['login'] })`)
	v.mustRun(`for (const participant of [1, 2, 14]) b.arrive({ participant }); b.fail('login', { participant: 3 })`)

	assert.Regexp(t, `^BarrierTimeoutError: wait\(\) failed; reason: barrier "default": not released within [0-9.]+ms: `+
		`3 of 14 arrived, 1 failed \(login 1\), missing 4, 5, 6, 7, 8, 9, 10, 11, 12, 13$`, v.errorOf(`b.wait()`, `e`))
	assert.Equal(t, "true,true,BarrierTimeoutError,KBAR_TIMEOUT,false,3,10", v.errorOf(`b.wait({ timeout: '20ms' })`,
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
	for _, result := range together(users, `(({ reason, arrived }) => [reason, arrived])(releases.arriveAndWait())`) {
		assert.Regexp(t, `^\["timeout",[123]\]$`, result)
	}
	for _, result := range together(users, `(() => { try { aborts.arriveAndWait() } catch (e) { return [e.name, e.status.broken.reason] } })()`) {
		assert.Equal(t, `["BarrierBrokenError","timeout"]`, result)
	}
}

func TestErrorWithCountsComesBeforeTheLimitOfK6(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(0, `const b = new Barrier('default', { parties: 5, timeout: '5m' })`)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	v.VU.CtxField = ctx

	message := v.errorOf(`b.wait()`, `e.message`)
	require.NoError(t, ctx.Err(), "before the limit")
	assert.Regexp(t, `^wait\(\) failed; reason: barrier "default": not released within [0-9.]+ms `+
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
