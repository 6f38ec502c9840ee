package barrier

import (
	"testing"

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

func TestPromiseSettlesWhenTheIterationEnds(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 2 }); let result = 'none'`)
	observer := p.user(2, `const b = new Barrier('default', { parties: 2 })`)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := v.run(`b.asyncArriveAndWait().catch((e) => { result = e.message })`)
		assert.NoError(t, err)
	}()
	require.Eventually(t, func() bool { return observer.json(`b.status().arrived`) == "1" }, wakeLimit, wakeTick)
	v.cancel()
	<-ended
	assert.Contains(t, v.mustRun(`result`).String(), "k6 ended the iteration")
}
