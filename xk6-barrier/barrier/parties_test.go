package barrier

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/lib/executor"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

const crowd = `const b = new Barrier('crowd', { parties: { running: ['users'], grace: 0 }, cyclic: true, timeout: '60s' })`

func TestWhoeverRunsIsExpected(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	first, second := p.watched(1, crowd), p.watched(2, crowd)
	first.emit("IterStart", "users")
	second.emit("IterStart", "users")
	second.emit("IterStart", "users")
	first.mustRun(`b.arrive()`)
	assert.Equal(t, `[1,2,1]`, first.json(`[b.status().arrived, b.status().parties, b.missing().count]`))
	assert.Equal(t, `[]`, first.json(`b.missing().ids`), "nobody knows who they are")

	second.emit("IterEnd", "users")
	assert.Equal(t, `[0,1,1,"all"]`, first.json(`(({ phase, arrived, parties, reason }) => [phase, arrived, parties, reason])(b.wait())`),
		"who has gone without a word is not waited for")
}

func TestWhoIsBetweenTwoIterationsIsWaitedFor(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('crowd', { parties: { running: ['users'], grace: '1h' }, cyclic: true })`
	first, second := p.watched(1, script), p.watched(2, script)
	first.emit("IterStart", "users")
	second.iterate("users", ``)
	first.mustRun(`b.arrive()`)
	assert.Equal(t, `[0,2]`, first.json(`[b.status().phase, b.status().parties]`))
	second.iterate("users", `b.arrive()`)
	assert.Equal(t, `2`, first.json(`b.wait().arrived`))
}

func TestWhoBeginsNoOtherIterationIsNotWaitedForAnyMore(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('crowd', { parties: { running: ['users'], grace: '1ms' }, cyclic: true })`
	first, second := p.watched(1, script), p.watched(2, script)
	first.emit("IterStart", "users")
	second.iterate("users", ``)
	assert.Equal(t, `1`, first.json(`b.arriveAndWait().arrived`))
}

func TestAnIterationOfAnotherScenarioIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	first, second := p.watched(1, crowd), p.watched(2, crowd)
	first.emit("IterStart", "users")
	second.emit("IterStart", "others")
	assert.Equal(t, `1`, first.json(`b.arriveAndWait().arrived`))
}

func TestEveryScenarioCounts(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('all', { parties: 'running', cyclic: true })`
	first, second := p.watched(1, script), p.watched(2, script)
	first.emit("IterStart", "users")
	second.emit("IterStart", "others")
	first.mustRun(`b.arrive()`)
	assert.Equal(t, `2`, first.json(`b.status().parties`))
	second.mustRun(`b.fail('login')`)
	assert.Equal(t, `[1,1,2]`, second.json(`(({ arrived, failedTotal, parties }) => [arrived, failedTotal, parties])(b.wait())`))
}

func TestTheFirstPhaseWaitsForAtLeastSoMany(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('crowd', { parties: { running: ['users'], atLeast: 2, grace: 0 }, cyclic: true })`
	first, second := p.watched(1, script), p.watched(2, script)
	first.iterate("users", `b.arrive()`)
	assert.Equal(t, `0`, first.json(`b.status().phase`))
	second.iterate("users", `b.arrive()`)
	first.iterate("users", `b.arriveAndWait()`)
	assert.Equal(t, `2`, first.json(`b.status().phase`), "later ones do not")
}

func TestWhoGivesAnotherIDStandsForIt(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	first := p.watched(1, crowd)
	first.emit("IterStart", "users")
	assert.Equal(t, `[1,1]`, first.json(`(({ arrived, parties }) => [arrived, parties])(b.arriveAndWait({ participant: 'anna' }))`))
	first.emit("IterEnd", "users")
	first.iterate("users", `b.register({ participant: 'berta' }); b.arriveAndWait()`)
	assert.Equal(t, `2`, first.json(`b.status().phase`))
}

func TestWhoGaveAnotherIDStandsForItInLaterIterationsToo(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	first, second := p.watched(1, crowd), p.watched(2, crowd)
	second.emit("IterStart", "users")
	first.iterate("users", `try { b.arriveAndWait({ participant: 'anna', timeout: 50 }) } catch {}`)
	first.emit("IterStart", "users")
	second.mustRun(`b.arrive()`)
	assert.Equal(t, `2`, first.json(`b.arriveAndWait({ participant: 'anna' }).arrived`), "nobody waits for the user by another name")

	first.emit("IterEnd", "users")
	first.iterate("users", `b.arrive({ participant: 'anna' })`)
	first.emit("IterStart", "users")
	second.mustRun(`b.arrive()`)
	assert.Equal(t, `2`, second.json(`b.status().phase`), "nor where a later iteration reports nothing")
}

func TestAScenarioThatTheTestLacksIsNamed(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.initUser(1)
	v.mustRun(crowd)
	v.start(func(s *lib.State) {
		s.Options.Scenarios = lib.ScenarioConfigs{"buyers": executor.NewPerVUIterationsConfig("buyers")}
	})
	assert.Equal(t, `parties.running|"users"|scenarios of this test: buyers`,
		v.errorOf(`b.arrive()`, `[e.option, e.got, e.allowed].join('|')`))
}

func TestAScenarioThatNobodyCanBeFailedForIsNamedOnce(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('gate', { parties: 9, failUnaccounted: ['buyer', 'watchers'] })`
	has := func(s *lib.State) {
		s.Options.Scenarios = lib.ScenarioConfigs{
			"watchers": executor.NewPerVUIterationsConfig("watchers"),
			"buyers":   executor.NewPerVUIterationsConfig("buyers"),
		}
	}
	p.user(1, script, has).mustRun(`b.arrive()`)
	p.user(2, script, has).mustRun(`b.arrive()`)
	p.user(3, strings.ReplaceAll(script, "gate", "another"), has).mustRun(`b.arrive()`)
	warnings := slices.DeleteFunc(p.messages(), func(line string) bool { return !strings.Contains(line, "failUnaccounted") })
	assert.Equal(t, []string{
		`barrier "gate": failUnaccounted names buyer, which this test does not have; its scenarios are buyers, watchers`,
	}, warnings)
}

func TestWhoWaitsWithoutAnArrivalDoesNotWaitForItself(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	first, second := p.watched(1, crowd), p.watched(2, crowd)
	first.emit("IterStart", "users")
	second.emit("IterStart", "users")
	first.mustRun(`b.arrive()`)
	assert.Equal(t, `[0,1]`, second.json(`(({ phase, arrived }) => [phase, arrived])(b.wait())`))
	second.mustRun(`b.arrive()`)
	first.mustRun(`b.arriveAndWait()`)
	assert.Equal(t, `2`, first.json(`b.status().phase`), "from its own outcome on it is waited for again")
}

func TestWhoArrivedForAnotherDoesNotWaitForItself(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	first, second := p.watched(1, crowd), p.watched(2, crowd)
	first.mustRun(`b.register({ participant: 'helper' })`)
	first.emit("IterStart", "users")
	second.emit("IterStart", "users")
	second.mustRun(`b.arrive()`)
	first.mustRun(`b.arrive({ participant: 'ghost' })`)
	assert.Equal(t, `[0,2]`, first.json(`(({ phase, arrived }) => [phase, arrived])(b.wait())`))

	first.mustRun(`b.arrive()`)
	first.mustRun(`b.arrive({ participant: 'ghost' })`)
	second.mustRun(`b.arrive()`)
	assert.Equal(t, `3`, first.json(`b.wait().arrived`))
	second.mustRun(`b.arrive()`)
	assert.Equal(t, `2`, second.json(`b.status().phase`), "who had arrived itself is waited for in the next phase")
}

func TestWhoSpeaksForAUserThatRunsDoesNotStandForIt(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	first, second := p.watched(1, crowd), p.watched(2, crowd)
	first.emit("IterStart", "users")
	second.emit("IterStart", "users")
	first.mustRun(`b.fail('login', { participant: '2' })`)
	assert.Equal(t, `[0,2]`, first.json(`[b.status().phase, b.status().parties]`), "it is waited for itself")
	first.mustRun(`b.arrive()`)
	assert.Equal(t, `1`, first.json(`b.status().phase`))
	first.emit("IterEnd", "users")
	second.mustRun(`b.arrive()`)
	assert.Equal(t, `2`, second.json(`b.status().phase`))
}

func TestWhoStandsForAUserThatBeginsLaterDoesNotEndIt(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	first, second, third := p.watched(1, crowd), p.watched(2, crowd), p.watched(3, crowd)
	first.emit("IterStart", "users")
	first.mustRun(`b.arrive({ participant: '2' })`)
	assert.Equal(t, `1`, first.json(`b.status().phase`), "nobody else runs")
	second.emit("IterStart", "users")
	third.emit("IterStart", "users")
	first.emit("IterEnd", "users")
	third.mustRun(`b.arrive()`)
	assert.Equal(t, `[1,2]`, third.json(`[b.status().phase, b.status().parties]`), "the second one still runs")
	second.mustRun(`b.arrive()`)
	assert.Equal(t, `2`, third.json(`b.status().phase`))
}

func TestWhoseClaimIsRefusedHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	script := fmt.Sprintf(`const b = new Barrier('crowd', { parties: { running: ['users'] }, cyclic: true, store: '%s', runId: 'r', timeout: '20s' })`,
		server.URL())
	one, two := newProcess(t), newProcess(t)
	first, twin, other := one.watched(1, script), two.watched(1, script), two.watched(2, script)
	for _, v := range []watched{first, twin, other} {
		v.emit("IterStart", "users")
	}
	eventually(t, func() bool { return first.json(`b.status().parties`) == `3` }, "the store knows who runs in both")
	first.mustRun(`b.arrive()`)
	assert.Equal(t, `BarrierConflictError`, twin.errorOf(`b.arrive()`, `e.name`), "its iteration goes on")
	assert.Equal(t, `[0,2,2]`, other.json(`(({ phase, arrived, parties }) => [phase, arrived, parties])(b.arriveAndWait())`))

	first.mustRun(`b.wait(); b.arrive()`) // it may hear of the release later
	twin.mustRun(`b.arrive({ participant: 'twin' })`)
	assert.Equal(t, `[1,3]`, other.json(`(({ phase, arrived }) => [phase, arrived])(b.arriveAndWait())`), "under another id it takes part")
	first.mustRun(`b.wait(); b.arrive()`)
	other.mustRun(`b.arrive()`)
	twin.mustRun(`b.arrive({ participant: 'twin' })`)
	assert.Equal(t, `[2,3]`, other.json(`(({ phase, arrived }) => [phase, arrived])(b.wait())`), "and is waited for from then on")
}

func TestWhoRunsIsSaidInTheInitContext(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, ``)
	_, err := v.run(crowd)
	require.Error(t, err)
	assert.Contains(t, err.Error(), "outside the init context")
}

func TestPartiesThatAreWrongAreNamed(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		`{ parties: 'all' }`:                                 `parties`,
		`{ parties: { running: [] } }`:                       `parties.running`,
		`{ parties: { running: 'users' } }`:                  `parties.running`,
		`{ parties: { running: ['users'], atLeast: 0 } }`:    `parties.atLeast`,
		`{ parties: { runing: ['users'] } }`:                 `parties.runing`,
		`{ parties: { running: ['users'] }, release: 5 }`:    `release`,
		`{ parties: 'running', release: { quorum: '90%' } }`: `release`,
	} {
		p := newProcess(t)
		got := p.initUser(1).json(`(() => { try { new Barrier('b', ` + options + `) } catch (e) { return e.option ?? e.message } })()`)
		assert.Contains(t, got, want, options)
	}
}
