package barrier

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/lib"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

// told is a group as a script has it.
type told struct {
	Group   int
	Index   int
	Size    int
	Reason  string
	Members []struct {
		Participant string
		Payload     *string
	}
	WaitedMs, ReleasedAt float64
}

func groupsOf(t *testing.T, results []string) map[int][]told {
	t.Helper()
	groups := map[int][]told{}
	for _, result := range results {
		var g told
		require.NoError(t, json.Unmarshal([]byte(result), &g), result)
		groups[g.Group] = append(groups[g.Group], g)
	}
	return groups
}

// checkGroups looks at groups that formed of all of these users: none too large or too small, nobody in two.
func checkGroups(t *testing.T, groups map[int][]told, size, users int) {
	t.Helper()
	seen := map[string]bool{}
	for number, members := range groups {
		require.Len(t, members, size, "group %d", number)
		var indices []int
		for _, m := range members {
			indices = append(indices, m.Index)
			assert.Equal(t, members[0].Members, m.Members, "all are told the same")
			assert.Equal(t, []any{size, "all"}, []any{m.Size, m.Reason})
			own := m.Members[m.Index-1].Participant
			assert.False(t, seen[own], "%s is in two groups", own)
			seen[own] = true
			assert.Equal(t, "room-"+own, *m.Members[m.Index-1].Payload)
		}
		slices.Sort(indices)
		for at, index := range indices {
			assert.Equal(t, at+1, index)
		}
	}
	assert.Len(t, seen, users)
	for number := range groups {
		assert.LessOrEqual(t, number, users/size, "numbers have no gaps")
	}
}

// players makes users who know their own id.
func (p *process) players(first, n int, script string) []*virtualUser {
	p.t.Helper()
	users := make([]*virtualUser, n)
	for at := range users {
		id := uint64(first + at) //nolint:gosec // small
		users[at] = p.user(id, fmt.Sprintf("%s; const me = %d", script, id))
	}
	return users
}

const (
	lobby = `const lobby = new Group('lobby', { size: 4, timeout: '60s' })`
	join  = "lobby.join({ payload: 'room-' + me })"
)

func TestGroupsFormInMemory(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	users := p.players(1, 40, lobby)
	checkGroups(t, groupsOf(t, together(users, join)), 4, 40)
	again := groupsOf(t, together(users, join))
	assert.Len(t, again, 10)
	for number := range again {
		assert.Greater(t, number, 10, "no number is given twice")
	}
	assert.InDelta(t, 20, added(values(p.collected("barrier_groups"))), 0)
	assert.Len(t, p.collected("barrier_group_wait_duration"), 80)
}

// The call of a first member may end before it is told, and there may be no other call.
func TestGroupsOfWhichNobodyWasToldAreCountedWhenTheTestEnds(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	global := newEvents(common.Events{}.Global)
	defer global.close()
	p.events = common.Events{Global: global}
	user := p.user(1, `const lobby = new Group('lobby', { size: 2 })`)
	user.mustRun(`lobby.leave()`)
	p.root.groups.Range(func(_, found any) bool {
		group := found.(*grouping).group //nolint:forcetypeassert // the map holds nothing else
		var both sync.WaitGroup
		for _, who := range []string{"ann", "ben"} {
			both.Go(func() {
				_, err := group.Join(context.Background(), core.GroupJoin{Participant: who, Wait: time.Minute})
				assert.NoError(t, err)
			})
		}
		both.Wait()
		return true
	})
	user.cancel()
	require.Equal(t, 1, global.emit("TestEnd", nil))
	assert.InDelta(t, 1, added(values(p.collected("barrier_groups"))), 0)
}

func TestGroupsFormOverProcesses(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	script := fmt.Sprintf(`const lobby = new Group('lobby', { size: 5, store: '%s', runId: 'r', timeout: '60s' })`, server.URL())
	users := append(newProcess(t).players(1, 10, script), newProcess(t).players(11, 10, script)...)
	checkGroups(t, groupsOf(t, together(users, join)), 5, 20)
	// A process hears of another by the answer to its next call, which may be its beat.
	assert.Eventually(t, func() bool {
		return users[0].json(`(({ runId, store, size, groups, processes, connected }) =>
			[runId, store, size, groups > 0, processes, connected])(lobby.status())`) == `["r","redis",5,true,2,true]`
	}, wakeLimit, wakeTick)
}

// waitFor returns when so many wait in the lobby.
func (v *virtualUser) waitFor(n int) {
	v.process.t.Helper()
	require.Eventually(v.process.t, func() bool {
		return v.json("lobby.status().waiting") == fmt.Sprint(n)
	}, wakeLimit, wakeTick)
}

func TestWhoLeavesFreesThePlace(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	script := `const lobby = new Group('lobby', { size: 2, timeout: '60s' })`
	users := p.players(1, 4, script)
	first := make(chan string, 1)
	go func() { first <- together(users[:1], join)[0] }()
	users[1].waitFor(1)
	assert.Equal(t, `{"left":true}`, users[1].json(`lobby.leave({ participant: 1 })`))
	left := <-first
	assert.Contains(t, left, "GroupLeftError")
	assert.Equal(t, `{"left":false}`, users[1].json(`lobby.leave({ participant: 1 })`))
	for _, g := range groupsOf(t, together(users[2:], join)) {
		assert.Equal(t, []string{"3", "4"}, sorted(g[0]))
	}
}

func sorted(g told) []string {
	var ids []string
	for _, m := range g.Members {
		ids = append(ids, m.Participant)
	}
	slices.Sort(ids)
	return ids
}

func TestWhoIsEndedByK6FreesThePlace(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	script := `const lobby = new Group('lobby', { size: 2, timeout: '60s' })`
	users := p.players(1, 3, script)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := users[0].run(join)
		assert.Error(t, err)
	}()
	users[1].waitFor(1)
	users[0].cancel()
	<-ended
	for _, g := range groupsOf(t, together(users[1:], join)) {
		assert.Equal(t, []string{"2", "3"}, sorted(g[0]))
	}
}

func TestAWaitThatExpires(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"memory", "redis"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			where := "memory"
			if store == "redis" {
				where = redistest.Start(t).URL()
			}
			p := newProcess(t)
			users := p.players(1, 2, fmt.Sprintf(`
				const lobby = new Group('lobby', { size: 3, store: '%s', runId: 'r' });
				const few = new Group('few', { size: 3, store: '%s', runId: 'r', onTimeout: 'release', timeout: '60s' })`, where, where))
			assert.Equal(t, "GroupTimeoutError TIMEOUT", users[0].errorOf(`lobby.join({ timeout: 50 })`, "e.name + ' ' + e.code"))
			assert.Equal(t, "0", users[0].json("lobby.status().waiting"), "the place is given up")

			together0 := make(chan string, 1)
			go func() { together0 <- together(users[:1], "few.join({ payload: 'room-' + me })")[0] }()
			require.Eventually(t, func() bool { return users[1].json("few.status().waiting") == "1" }, wakeLimit, wakeTick)
			results := []string{users[1].json(`few.join({ timeout: 50, payload: 'room-' + me })`), <-together0}
			for _, g := range groupsOf(t, results)[1] {
				assert.Equal(t, []any{2, "timeout", []string{"1", "2"}}, []any{g.Size, g.Reason, sorted(g)})
			}
		})
	}
}

func TestGroupsRefuseWhatIsWrong(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	users := p.players(1, 2, `const lobby = new Group('lobby', { size: 2, timeout: '60s' })`)
	for code, want := range map[string]string{
		`new Group('x')`:                                         "size",
		`new Group('x', { size: 1 })`:                            "size",
		`new Group('x', { size: 1001 })`:                         "size",
		`new Group('a b', { size: 2 })`:                          "name",
		`new Group('x', { size: 2, onTimeout: 'abort' })`:        "onTimeout",
		`new Group('x', { size: 2, parties: 2 })`:                "parties",
		`new Group('x', { size: 2, store: 'http://localhost' })`: "store",
		`lobby.join({ payload: 7 })`:                             "payload",
		`lobby.join({ payload: 'é'.repeat(129) })`:               "payload",
		`lobby.join({ participant: '' })`:                        "participant",
	} {
		assert.Equal(t, "BarrierOptionError "+want, users[0].errorOf(code, "e.name + ' ' + e.option"), code)
	}
	waits := make(chan string, 1)
	go func() { waits <- together(users[:1], join)[0] }()
	users[1].waitFor(1)
	assert.Equal(t, "BarrierConflictError", users[1].errorOf(`lobby.join({ participant: 1 })`, "e.name"))
	assert.Equal(t, "size", users[1].errorOf(`new Group('lobby', { size: 3 }).join()`, "e.option"), "others opened it")
	groupsOf(t, []string{users[1].json(join), <-waits})

	early := newProcess(t).initUser(1)
	assert.Contains(t, early.errorOf(lobby+`; lobby.join()`, "e.message"), "init context")
}

func TestJoinAsAPromise(t *testing.T) {
	t.Parallel()
	v := newProcess(t).user(1, `const lobby = new Group('lobby', { size: 2, timeout: '60s' })`)
	assert.Equal(t, "1 1,2", v.mustRun(`Promise.all([lobby.asyncJoin({ participant: 'a' }), lobby.asyncJoin({ participant: 'b' })])
		.then(([a, b]) => a.group + ' ' + [a.index, b.index].sort())`).String())
}

func TestGroupsUnderSegmentsNeedAStore(t *testing.T) {
	t.Parallel()
	half, err := lib.NewExecutionSegmentFromString("0:1/2")
	require.NoError(t, err)
	v := newProcess(t).user(1, lobby, func(s *lib.State) { s.Options.ExecutionSegment = half })
	assert.Equal(t, "store", v.errorOf(`lobby.join()`, "e.option"))
}

// A process that ends in good order: its places are free at once.
func TestPlacesOfAProcessThatClosesAreFree(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	script := fmt.Sprintf(`const lobby = new Group('lobby', { size: 2, store: '%s', runId: 'r', timeout: '60s' })`, server.URL())
	one, two := newProcess(t), newProcess(t)
	goes, stay := one.players(1, 1, script), two.players(2, 2, script)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = goes[0].run(join)
	}()
	require.Eventually(t, func() bool {
		return strings.Contains(server.HGet(context.Background(), "K6_BARRIER_GROUPS:r:lobby", "@w:1").Val(), "room-1")
	}, wakeLimit, wakeTick)
	client, err := one.root.start(common.Events{}) // the one that the user started
	require.NoError(t, err)
	client.Close(5 * time.Second)
	<-ended
	for _, g := range groupsOf(t, together(stay, join)) {
		assert.Equal(t, []string{"2", "3"}, sorted(g[0]))
	}
}

func added(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}

func TestGroupsWithoutAStoreSayWhy(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const lobby = new Group('lobby', { size: 2, store: 'redis://127.0.0.1:1', runId: 'r' })`)
	assert.Regexp(t, `^BarrierStoreError: join\(\) failed; reason: group lobby: .*127\.0\.0\.1:1.*; the place is given up as soon as the store answers`,
		v.errorOf(`lobby.join({ timeout: 50 })`, "e.name + ': ' + e.message"))
}
