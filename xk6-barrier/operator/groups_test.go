package operator

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

// lobby opens groups of two as a process of a test does; the process goes when it is closed.
func lobby(t *testing.T, url string) (group *core.Group, goes func()) {
	t.Helper()
	return groupsNamed(t, url, "lobby")
}

func groupsNamed(t *testing.T, url, name string) (group *core.Group, goes func()) {
	t.Helper()
	engine, err := core.NewEngine()
	require.NoError(t, err)
	client, err := core.NewClient(engine, func(core.LogLine) {}, core.SystemResolver)
	require.NoError(t, err)
	goes = func() { client.Close(5 * time.Second) }
	t.Cleanup(goes)
	group, err = client.OpenGroup([]byte(fmt.Sprintf(`{"name":%q,"size":2,"store":%q,"runId":"run-1"}`, name, url)))
	require.NoError(t, err)
	return group, goes
}

func TestGroupsAreSeen(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	group, goes := lobby(t, url)
	done := make(chan error, 3)
	for _, who := range []string{"ann", "ben", "cid"} {
		go func() {
			_, err := group.Join(context.Background(), core.GroupJoin{Participant: who, Wait: time.Hour})
			done <- err
		}()
	}
	require.NoError(t, <-done)
	require.NoError(t, <-done)

	var listed string
	require.Eventually(t, func() bool { // the third may still be on its way
		listed = prints(t, url, "list")
		return strings.Contains(listed, "1 (")
	}, limit, tick)
	assert.Regexp(t, `(?m)^RUN +GROUPS +SIZE +FORMED +WAITING +PROCESSES\nrun-1 +lobby +2 +1 +1 \((ann|ben|cid)\) +1$`, listed)
	assert.Regexp(t, `groups "lobby" of run run-1\n +size +2\n +formed +1\n +waiting +1 \(\w+\)\n +processes +1, last heard \d+s ago\n`+
		` +expires +in \w+, if nobody writes\n`, prints(t, url, "status"))
	assert.Regexp(t, `"name":"lobby","size":2,"groups":1,"waiting":1`, prints(t, url, "status", "--json"))

	goes()
	require.Error(t, <-done)
	assert.Regexp(t, `run-1 lobby: groups of 2: 1 formed, 0 waiting, all processes have gone`, prints(t, url, "watch"))
}

func TestGroupsAreWatched(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	plain, terminal := newConsole(map[string]string{redisEnv: url}), newConsole(map[string]string{redisEnv: url})
	terminal.redraws = true
	end, endTerminal := watching(t, plain), watching(t, terminal)
	group, goes := lobby(t, url)
	done := make(chan error, 2)
	join := func(who string) {
		_, err := group.Join(context.Background(), core.GroupJoin{Participant: who, Wait: time.Hour})
		done <- err
	}
	go join("ann")
	plain.eventually(t, "run-1 lobby: groups of 2: 0 formed, 1 (ann) waiting\n")
	terminal.eventually(t, "\x1b[2A\x1b[JRUN    GROUPS  SIZE  FORMED  WAITING  PROCESSES\nrun-1  lobby   2     0       1 (ann)  1\n")
	go join("ben")
	plain.eventually(t, "run-1 lobby: groups of 2: 1 formed, 0 waiting\n")
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	goes()
	require.NoError(t, end())
	require.NoError(t, endTerminal())
	assert.Regexp(t, `run-1 +lobby +2 +1 +0 +0\n$`, terminal.out.String())
}

// Nobody says of the last process that it was killed.
func TestGroupsWhoseProcessesWereKilledAreGone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	group, _ := lobby(t, server.URL())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _, _ = group.Join(ctx, core.GroupJoin{Participant: "ann", Wait: time.Hour}) }()
	const key, copied = "K6_BARRIER_GROUPS:run-1:lobby", "K6_BARRIER_GROUPS:run-2:lobby"
	require.Eventually(t, func() bool { return server.HExists(ctx, key, "@w:ann").Val() }, limit, tick)

	// The record as it is when its only process has been silent for 20 seconds.
	require.NoError(t, server.Copy(ctx, key, copied, 0, false).Err())
	at, err := server.HGet(ctx, copied, "@at").Int64()
	require.NoError(t, err)
	require.NoError(t, server.HSet(ctx, copied, "@at", at-20_000_000).Err())
	listed := prints(t, server.URL(), "list")
	assert.Regexp(t, `(?m)^run-1 +lobby +2 +0 +1 \(ann\) +1$`, listed)
	assert.Regexp(t, `(?m)^run-2 +lobby +2 +0 +0 +0$`, listed)
	assert.Contains(t, fails(t, server.URL(), "status", "--name", "lobby"),
		`several groups "lobby" in the store: run-1 lobby, run-2 lobby; name one by --run-id and --name`)
}

func TestABarrierAndGroupsOfOneNameAreShownTogether(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	open(t, url, "run-1", "")
	group, _ := groupsNamed(t, url, "default")
	done := make(chan error, 2)
	for _, who := range []string{"ann", "ben"} {
		go func() {
			_, err := group.Join(t.Context(), core.GroupJoin{Participant: who, Wait: time.Hour})
			done <- err
		}()
	}
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	assert.Regexp(t, `^barrier "default" of run run-1\n(?s:.*)groups "default" of run run-1\n +size +2\n`, prints(t, url, "status"))
}
