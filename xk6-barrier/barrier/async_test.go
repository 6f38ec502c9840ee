package barrier

import (
	"testing"

	"github.com/grafana/sobek"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTwinsReturnPromises(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 5, cyclic: true, timeout: 30 })`)
	assert.Equal(t, `[true,"arrived",1]`, v.mustRun(`(async () => { const promise = b.asyncArrive();
		const r = await promise; return JSON.stringify([promise instanceof Promise, r.outcome, r.index]) })()`).String())
	assert.Equal(t, `"failed"`, v.mustRun(`(async () => JSON.stringify((await b.asyncFail('x', { participant: 2 })).outcome))()`).String())
	assert.Equal(t, `"left"`, v.mustRun(`(async () => JSON.stringify((await b.asyncLeave({ participant: 3 })).outcome))()`).String())
	assert.Equal(t, `2`, v.mustRun(`(async () => JSON.stringify((await b.asyncMissing()).count))()`).String())
	assert.Equal(t, `BarrierTimeoutError: asyncWait() failed`, v.mustRun(`(async () => {
		try { await b.asyncWait() } catch (e) { return String(e).split(';')[0] } })()`).String())
	v.mustRun(`b.arrive({ participant: 4 })`)
	assert.Equal(t, `all,0`, v.mustRun(`(async () => {
		const waiting = b.asyncWait({ timeout: '20s' });
		b.arrive({ participant: 5 });
		const { reason, phase } = await waiting;
		return String([reason, phase]) })()`).String())
	assert.Equal(t, `arrived`, v.mustRun(`(async () => {
		const waiting = b.asyncArriveAndWait({ timeout: '20s' });
		for (const participant of [2, 4, 5]) b.arrive({ participant });
		return (await waiting).outcome })()`).String())
	assert.Equal(t, `true`, v.mustRun(`(async () => String((await b.asyncAbort('done')).broken))()`).String())
}

func TestWrongArgumentsRejectThePromise(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 1 })`)
	assert.Equal(t, `BarrierOptionError: asyncArrive() failed; reason: option "participant": got true, allowed is a string of 1 `+
		`to 128 bytes or a whole number from 0 to 2^53 - 1`,
		v.mustRun(`(async () => b.asyncArrive({ participant: true }).catch(String))()`).String())
}

func TestNoHandlerRunsAfterTheIteration(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 2 }); let ran = 0; const count = () => { ran++ }`)
	observer := p.user(2, `const b = new Barrier('default', { parties: 2 })`)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := v.run(`b.asyncArriveAndWait().then(count, count)`)
		assert.NoError(t, err)
	}()
	require.Eventually(t, func() bool { return observer.json(`b.status().arrived`) == "1" }, wakeLimit, wakeTick)
	v.cancel()
	<-ended

	// In a callback of another module that k6 still runs.
	v.mustRun(`b.asyncFail('late').then(count, count); b.asyncFail(7).then(count, count); b.asyncAbort('late').then(count, count)`)
	assert.Equal(t, `0`, v.json(`ran`))
}

func TestNothingIsRecordedAfterTheIteration(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('default', { parties: 5 }), q = new QueueCounter({ redis: 'redis://127.0.0.1:1', keys: ['k'] });
		b.register({ participant: 'one' })`
	v, observer := p.user(1, script), p.user(2, script)
	observer.mustRun(`b.arrive({ participant: 'other' })`)
	v.cancel()
	for _, call := range []string{
		`b.arrive()`, `b.fail('late')`, `b.fail(7)`, `b.leave()`, `b.arriveAndWait()`, `b.wait()`, `b.abort('late')`, `b.missing()`, `q.total()`,
	} {
		v.mustRun(`var went = false, caught = false`)
		_, err := v.run(`try { ` + call + `; went = true } catch { caught = true }`)
		var interrupted *sobek.InterruptedError
		require.ErrorAs(t, err, &interrupted, call)
		assert.Equal(t, `[false,false]`, v.json(`[went, caught]`), call)
	}
	for _, call := range []string{`b.asyncArrive()`, `b.asyncFail('late')`, `b.asyncLeave()`, `b.asyncArriveAndWait()`, `b.asyncAbort('late')`} {
		v.mustRun(call + `; 0`)
	}
	assert.Equal(t, `[1,0,0,null]`, observer.json(`(({ arrived, failedTotal, left, broken }) => [arrived, failedTotal, left, broken])(b.status())`))
}

func TestTwinOfAnIterationThatEndedIsAccountedFor(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('default', { parties: 9, failUnaccounted: ['users'] })`
	v, observer := p.watched(1, script), p.user(2, script)
	v.mustRun(`b.register({ participant: 'one' })`)
	v.emit("IterStart", "users")
	ended := make(chan error)
	go func() { _, err := v.run(`b.asyncWait(); 0`); ended <- err }()
	require.Eventually(t, func() bool { return p.waiting("default") == 1 }, wakeLimit, wakeTick)
	v.cancel()
	require.NoError(t, <-ended)

	assert.Zero(t, v.emit("IterEnd", "users"), "a subscriber would make k6 warn")
	assert.Equal(t, `{"iteration-ended":1}`, observer.json(`b.status().failed`), "before the next iteration may begin")
}
