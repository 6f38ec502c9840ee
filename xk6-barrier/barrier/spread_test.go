package barrier

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

// gone is how a user went that had an instant of its own.
type gone struct {
	Due   float64 // its instant, counted from that of the release, in ms
	Early bool    // whether it went before its instant
}

const goesInTurn = `(({ dueAt, releasedAt }) => ({ due: dueAt - releasedAt, early: Date.now() < Math.floor(dueAt) }))(%s)`

func wentInTurn(t *testing.T, users []*virtualUser, call string) []gone {
	t.Helper()
	went := make([]gone, 0, len(users))
	for _, text := range together(users, fmt.Sprintf(goesInTurn, call)) {
		var g gone
		require.NoError(t, json.Unmarshal([]byte(text), &g), text)
		assert.False(t, g.Early, text)
		g.Due = math.Round(g.Due)
		went = append(went, g)
	}
	slices.SortFunc(went, func(a, b gone) int { return int(a.Due - b.Due) })
	return went
}

func dues(went []gone) []float64 {
	list := make([]float64, len(went))
	for i, g := range went {
		list[i] = g.Due
	}
	return list
}

func TestUsersGoOneAfterTheOther(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.root.outbox.gather()
	var users []*virtualUser
	for id := range uint64(5) {
		users = append(users, p.user(id+1, `const b = new Barrier('default', { parties: 5, release: { spread: '500ms' } })`))
	}
	assert.Equal(t, []float64{0, 100, 200, 300, 400}, dues(wentInTurn(t, users, `b.arriveAndWait()`)))

	p.root.outbox.flush()
	skews := values(p.collected("barrier_spread_skew_duration"))
	assert.Len(t, skews, 5)
	for _, ms := range skews {
		assert.GreaterOrEqual(t, ms, 0.0, "however far, to either side")
		assert.Less(t, ms, 60e3, "in milliseconds")
	}
	assert.Len(t, p.collected("barrier_wait_duration"), 5)
	assert.Empty(t, p.collected("barrier_skew_duration"), "it is for those who go at the release's instant")
	assert.Equal(t, `["all","arrived",5]`, users[0].json(`(({ reason, outcome, arrived }) => [reason, outcome, arrived])(b.arriveAndWait())`))
	assert.Equal(t, `true`, users[0].json(`b.wait().dueAt === undefined`), "a wait without an arrival goes with the first")
}

func TestNobodyWaitsForTheInstantOfALaterOne(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('default', { parties: 3, release: { spread: '24h' } })`
	users := p.users(3, script)
	went := make(chan error, len(users))
	for _, v := range users {
		go func() { _, err := v.run(`b.arriveAndWait()`); went <- err }()
	}
	select {
	case err := <-went:
		require.NoError(t, err)
	case <-time.After(wakeLimit):
		assert.Fail(t, "the first one waits for one of the others")
	}
	assert.Equal(t, 2, p.waiting("default"), "for eight hours and sixteen")
	for _, v := range users {
		v.cancel()
	}
	require.Error(t, <-went)
	require.Error(t, <-went)
}

func TestUsersOfTwoProcessesTakeTurns(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	script := fmt.Sprintf(`const b = new Barrier('default', { parties: 6, cyclic: true, release: { rate: 20 }, store: '%s' })`, server.URL())
	one, two := newProcess(t), newProcess(t)
	one.env[runIDEnv], two.env[runIDEnv] = "run-1", "run-1"
	var users []*virtualUser
	for id := range uint64(6) {
		users = append(users, []*process{one, two}[id%2].user(id+1, script))
	}
	for range 2 {
		assert.Equal(t, []float64{0, 50, 100, 150, 200, 250}, dues(wentInTurn(t, users, `b.arriveAndWait()`)))
	}
}

func TestAnArrivalHasItsInstantWhetherOrNotItWaits(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('default', { parties: 2, release: { spread: '200ms' } })`
	one, two := p.user(1, script), p.user(2, script)
	assert.Equal(t, `1`, one.json(`b.arrive().index`))
	went := wentInTurn(t, []*virtualUser{one, two}, `b.arriveAndWait()`)
	assert.Equal(t, []float64{0, 100}, dues(went))
}

func TestATimeOutDoesNotEndTheWaitForAnInstant(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('default', { parties: 3, timeout: '50ms', onTimeout: 'release', release: { spread: '300ms' } })`
	users := []*virtualUser{p.user(1, script), p.user(2, script)}
	assert.Equal(t, []float64{0, 150}, dues(wentInTurn(t, users, `b.arriveAndWait()`)))
}

func TestAnEndedUserDoesNotWaitForItsInstant(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.root.progressEvery = time.Millisecond
	const script = `const b = new Barrier('default', { parties: 2, release: { spread: '20h' } })`
	one, two := p.user(1, script), p.user(2, script)
	assert.Equal(t, `1`, one.json(`b.arrive().index`))
	ended := make(chan error, 1)
	go func() {
		_, err := two.run(`b.arriveAndWait()`) // in ten hours
		ended <- err
	}()
	says := regexp.MustCompile(`released \(all\): 2 of 2 arrived; the last of them goes in about (10h0m0s|9h5\dm\d+s)`).MatchString
	require.Eventually(t, func() bool { return slices.ContainsFunc(p.messages(), says) }, wakeLimit, wakeTick)
	two.cancel()
	require.Error(t, <-ended)
}

func TestAWaitThatIsTakenUpAfterABreakSaysSo(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	const script = `const b = new Barrier('default', { parties: 2, cyclic: true, release: { spread: '1s' } })`
	v := p.user(1, script)
	_, err := v.run(`b.arriveAndWait({ timeout: 20 })`)
	require.ErrorContains(t, err, "not released within")
	v.json(`b.abort('no more')`)
	_, err = v.run(`b.arriveAndWait()`)
	require.ErrorContains(t, err, "is broken (abort): no more")
}

func TestOptionsOfARelease(t *testing.T) {
	t.Parallel()
	v := newProcess(t).user(1, ``)
	for options, want := range map[string]string{
		`release: { spread: 0 }`:                       "release.spread|0|" + allowedDuration,
		`release: { spread: '25h' }`:                   "release.spread|90000000 ms|1 ms to 24 h",
		`release: { rate: 0 }`:                         "release.rate|0|" + allowedRate,
		`release: { rate: 5, spread: '1s' }`:           "release.rate|5|" + allowedRate,
		`release: { rate: 5, shape: 'round' }`:         "release.shape|\"round\"|'even' or 'poisson'",
		`release: { rate: 5, seed: -1 }`:               "release.seed|-1|" + allowedSeed,
		`release: { quorum: '90%', seed: 1 }`:          "release.seed|1|only beside spread or rate",
		`release: { quorum: 'most', rate: 1 }`:         "release.quorum|\"most\"|" + allowedQuorum,
		`release: { quorum: 3, rate: 1 }`:              "release|3|an integer from 1 to parties (2)",
		`release: { speed: 1 }`:                        "release.speed|1|quorum, rate, seed, shape, spread",
		`release: true`:                                "release|true|" + allowedRelease,
		`releaseAt: 'tomorrow'`:                        "releaseAt|\"tomorrow\"|" + allowedInstant,
		`releaseAt: 1800000000`:                        "releaseAt|1800000000|an instant from 2001 to 2100, in milliseconds since the epoch",
		`releaseAt: 4000000000000, release: { at: 1 }`: "release.at|1|quorum, rate, seed, shape, spread",
	} {
		got := v.errorOf(`new Barrier('d', { parties: 2, `+options+` })`, `[e.option, e.got, e.allowed].join('|')`)
		assert.Equal(t, want, got, options)
	}
	assert.Equal(t, `1`, v.json(`new Barrier('d', { parties: 2, release: { quorum: '50%', rate: 1, shape: 'poisson', seed: 7 },
		releaseAt: '2020-01-01T00:00:00.5+01:00' }).arriveAndWait().arrived`))
}

func TestNobodyGoesBeforeTheInstant(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	p.env[runIDEnv] = "run-1"
	for _, store := range []string{"memory", server.URL()} {
		v := p.user(1, fmt.Sprintf(`const at = Date.now() + 300, b = new Barrier('%d', { parties: 1, store: '%s', timeout: 100,
			releaseAt: new Date(at).toISOString() })`, len(store), store))
		var told []any
		require.NoError(t, json.Unmarshal([]byte(v.json(`(({ reason, serverReleasedAt }) =>
			[reason, serverReleasedAt - at, Date.now() - at])(b.arriveAndWait())`)), &told))
		assert.Equal(t, "all", told[0])
		assert.GreaterOrEqual(t, told[1], 0.0)
		// Of a server's clock a process knows what time it is with an error that depends on how busy the machine was when it asked.
		// Who does not heed the instant goes 300 ms before it.
		assert.GreaterOrEqual(t, told[2].(float64), -50.0, "%v", told)
	}
}
