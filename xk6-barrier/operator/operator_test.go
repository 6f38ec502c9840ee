package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/errext"
	"go.uber.org/goleak"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Lasting()) }

const (
	limit = 60 * time.Second
	tick  = 5 * time.Millisecond
)

// open opens a barrier as a process of a test does.
func open(t *testing.T, url, runID, more string) *core.Barrier {
	t.Helper()
	return openFor(t, url, runID, "3", more)
}

// openFor does so for other parties.
func openFor(t *testing.T, url, runID, parties, more string) *core.Barrier {
	t.Helper()
	engine, err := core.NewEngine()
	require.NoError(t, err)
	client, err := core.NewClient(engine, func(core.LogLine) {}, core.SystemResolver)
	require.NoError(t, err)
	t.Cleanup(func() { client.Close(5 * time.Second) })
	options := fmt.Sprintf(`{"name":"default","parties":%s,"store":%q,"runId":%q,"connectTimeoutMs":60000%s}`, parties, url, runID, more)
	barrier, err := client.Open(t.Context(), []byte(options))
	require.NoError(t, err)
	return barrier
}

func report(t *testing.T, b *core.Barrier, kind core.Kind, participant, reason string) {
	t.Helper()
	_, err := b.Do(t.Context(), core.Request{Kind: kind, Flags: core.Explicit}, participant, reason)
	require.NoError(t, err)
}

// text is what a command has printed so far.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *text) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *text) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// console is somebody at a command line.
type console struct {
	host

	out, err text
}

func newConsole(env map[string]string) *console {
	logger, _ := logtest.NewNullLogger()
	c := &console{host: host{
		in: strings.NewReader(""), env: env, logger: logger, now: time.Now,
		interrupted: context.WithCancel,
	}}
	c.host.out, c.host.err = &c.out, &c.err
	return c
}

func (c *console) run(ctx context.Context, args ...string) error {
	cmd := newCommand(&c.host)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&c.out)
	cmd.SetErr(&c.err)
	return cmd.ExecuteContext(ctx)
}

// prints runs a command that must succeed and gives what it printed.
func prints(t *testing.T, url string, args ...string) string {
	t.Helper()
	c := newConsole(map[string]string{redisEnv: url})
	require.NoError(t, c.run(t.Context(), args...))
	return c.out.String()
}

// fails runs a command that must fail with exit code 1 and gives its message.
func fails(t *testing.T, url string, args ...string) string {
	t.Helper()
	c := newConsole(map[string]string{redisEnv: url})
	err := c.run(t.Context(), args...)
	require.Error(t, err, c.out.String())
	var coded errext.HasExitCode
	require.ErrorAs(t, err, &coded)
	assert.Equal(t, failed, coded.ExitCode())
	return err.Error()
}

func TestListShowsEachBarrier(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	assert.Equal(t, "there is no barrier in the store\n", prints(t, url, "list"))
	assert.JSONEq(t, `{"barriers":[],"groups":[],"complete":true}`, prints(t, url, "list", "--json"))

	one := open(t, url, "run-1", "")
	report(t, one, core.Arrive, "1", "")
	report(t, one, core.Fail, "2", "login")
	open(t, url, "run-2", "")

	lines := strings.Split(strings.TrimSpace(prints(t, url, "list")), "\n")
	require.Len(t, lines, 3)
	head, first := strings.Fields(lines[0]), lines[1]
	assert.Equal(t, []string{
		"RUN", "BARRIER", "STATE", "PHASE", "EXPECTED", "ARRIVED", "FAILED", "LEFT", "LATE", "MISSING", "SINCE",
	}, head)
	assert.Regexp(t, `^run-1 +default +open +0 +3 +1 +1 \(login 1\) +0 +0 +1 +\d+s ago$`, first)
	assert.NotContains(t, prints(t, url, "list", "--run-id", "run-1"), "run-2")
	assert.Contains(t, prints(t, url, "list", "--limit", "1"), "there are more")
}

func TestStatusShowsAllOfOneBarrier(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	b := open(t, url, "run-1", `,"release":{"percent":60}`)
	report(t, b, core.Arrive, "2", "")

	shown := prints(t, url, "status")
	for _, want := range []string{
		`barrier "default" of run run-1`, `state +open, phase 0, since \d+s ago`, `expected +3`, `released at +2 arrivals`,
		`arrived +1`, `failed +0`, `missing +2: 1, 3`, `processes +1, last heard \d+s ago`, `expires +in \w+, if nobody writes`,
	} {
		assert.Regexp(t, want, shown)
	}
	var sight core.Sight
	require.NoError(t, json.Unmarshal([]byte(prints(t, url, "status", "--json", "--missing", "1")), &sight))
	assert.Equal(t, []string{"1"}, sight.MissingIDs)
	assert.Contains(t, prints(t, url, "status", "--missing", "1"), "2: 1, …")

	open(t, url, "run-2", "")
	assert.Equal(t, "several barriers in the store: run-1 default, run-2 default; name one by --run-id and --name",
		fails(t, url, "status"))
	assert.Contains(t, prints(t, url, "status", "--run-id", "run-2", "--name", "default"), "of run run-2")
	assert.Equal(t, `there is no barrier "gate" in run run-2`, fails(t, url, "status", "--run-id", "run-2", "--name", "gate"))
	assert.Equal(t, `there is no barrier in run run-3`, fails(t, url, "status", "--run-id", "run-3"))
}

func TestWhoRunsIsExpected(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	b := openFor(t, url, "run-1", `{"running":["users"]}`, "")
	for _, user := range []string{"1", "2", "3"} {
		report(t, b, core.Begin, user, "")
	}
	report(t, b, core.Arrive, "1", "")
	assert.Regexp(t, `(?m)^run-1 +default +open +0 +3 +1 +0 +0 +0 +2 `, prints(t, url, "list"))
	shown := prints(t, url, "status")
	assert.Regexp(t, `expected +3\n`, shown)
	assert.Regexp(t, `missing +2\n`, shown, "nobody knows who they are")

	report(t, b, core.End, "2", "")
	report(t, b, core.End, "3", "")
	require.Eventually(t, func() bool {
		listed := prints(t, url, "list")
		return regexp.MustCompile(`(?m)^run-1 +default +released \(all\) +0 +1 +1 +0 +0 +0 +0 `).MatchString(listed)
	}, limit, tick)
}

// A release is decided some time before its users go. Until then they wait.
func TestAnInstantAheadIsShown(t *testing.T) {
	t.Parallel()
	const shortly = `(59m\d+|1h0m0)s`
	at := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		options             string
		status, list, watch string
	}{
		"releaseAt": {
			fmt.Sprintf(`,"releaseAt":%d`, at.UnixMilli()),
			`state +released \(all\), phase 0, goes in ` + shortly, ` 0 +in ` + shortly + `\n`,
			`run-1 default: released \(all\), all go at 20[-0-9T:]+Z: 3 of 3 arrived\n`,
		},
		"phases": {
			fmt.Sprintf(`,"cyclic":true,"releaseAt":%d`, at.UnixMilli()),
			`state +open, phase 1, begins in ` + shortly + `\n(?s:.*)last release +phase 0 \(all\), in ` + shortly, ` 3 +in ` + shortly + `\n`,
			`run-1 default: phase 1: 0 of 3 arrived, 3 missing; of phase 0 all go at 20[-0-9T:]+Z\n`,
		},
		"spread": {
			`,"spread":{"pace":{"spanMs":5400000}}`,
			`state +released \(all\), phase 0, (?s:.*)last user +goes in ` + shortly, ` 0 +(in )?\d`,
			`run-1 default: released \(all\), the last user goes at 20[-0-9T:]+Z: 3 of 3 arrived\n`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := redistest.Start(t).URL()
			b := open(t, url, "run-1", test.options)
			for _, user := range []string{"1", "2", "3"} {
				report(t, b, core.Arrive, user, "")
			}
			assert.Regexp(t, test.status, prints(t, url, "status"))
			assert.Regexp(t, test.list, prints(t, url, "list"))

			c := newConsole(map[string]string{redisEnv: url})
			_ = watching(t, c)
			seen := regexp.MustCompile(test.watch)
			require.Eventually(t, func() bool { return seen.MatchString(c.out.String()) }, limit, tick, test.watch)
			open(t, url, "run-2", "")
			c.eventually(t, "run-2 default: 0 of 3 arrived") // it goes on
		})
	}
}

func TestAWatchEndsWhenTheLastUserHasGone(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	b := open(t, url, "run-1", `,"spread":{"pace":{"spanMs":3000}}`)
	for _, user := range []string{"1", "2", "3"} {
		report(t, b, core.Arrive, user, "")
	}
	c := newConsole(map[string]string{redisEnv: url})
	require.NoError(t, watching(t, c)())
	assert.Contains(t, c.out.String(), "run-1 default: released (all): 3 of 3 arrived\n")
}

func TestReleaseLetsWaitersGo(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	b := open(t, url, "run-1", "")
	report(t, b, core.Arrive, "1", "")
	gate := b.Gate(0)

	c := newConsole(map[string]string{redisEnv: url})
	assert.ErrorContains(t, c.run(t.Context(), "release"), "no run is named; give --run-id or set K6_BARRIER_RUN_ID")
	c.env[runIDEnv] = "run-1"
	assert.ErrorContains(t, c.run(t.Context(), "release"), "no terminal to ask on; give --yes")
	c.asks = true
	for _, answer := range []string{"", "n\n", "yellow\n"} {
		c.in = strings.NewReader(answer)
		assert.EqualError(t, c.run(t.Context(), "release"), "nothing was done")
	}
	assert.Contains(t, c.err.String(), "run-1 default: 1 of 3 arrived, 2 missing\nrelease this barrier for everyone? [y/N] ")
	select {
	case <-gate:
		assert.Fail(t, "released without a yes")
	default:
	}

	c.in = strings.NewReader("y\n")
	require.NoError(t, c.run(t.Context(), "release"))
	assert.Contains(t, c.out.String(), `released phase 0 of barrier "default" of run run-1`)
	select {
	case <-gate:
	case <-time.After(limit):
		require.Fail(t, "the process has not heard of the release")
	}
	assert.Equal(t, "operator", b.Release(0).Reason)

	assert.Contains(t, prints(t, url, "release", "--run-id", "run-1"), "was released already")
	assert.Contains(t, fails(t, url, "abort", "--run-id", "run-1"), "was released already: nothing was aborted")
	assert.Regexp(t, `released \(operator\)`, prints(t, url, "list"))
}

func TestAbortBreaksForEveryone(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	b := open(t, url, "run-1", "")
	assert.Contains(t, fails(t, url, "abort", "--run-id", "run-1"), "give --yes")
	assert.Contains(t, prints(t, url, "abort", "--run-id", "run-1", "--yes", "--reason", "wrong build"),
		`aborted barrier "default" of run run-1: wrong build`)
	select {
	case <-b.Broken():
	case <-time.After(limit):
		require.Fail(t, "the process has not heard of the abort")
	}
	status, err := b.Status()
	require.NoError(t, err)
	assert.Equal(t, "wrong build", status.Broken.Message)
	assert.Contains(t, prints(t, url, "abort", "--run-id", "run-1"), "was broken already (wrong build)")
	assert.Contains(t, fails(t, url, "release", "--run-id", "run-1"), "was broken already (wrong build): nobody was released")
	assert.Regexp(t, `state +broken \(abort\)(?s:.*)why +wrong build`, prints(t, url, "status"))
}

// watching starts a watch; the function that it returns waits for its end.
func watching(t *testing.T, c *console, args ...string) (end func() error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- c.run(t.Context(), append([]string{"watch", "--interval", "100ms"}, args...)...) }()
	return func() error {
		select {
		case err := <-ended:
			return err
		case <-time.After(limit):
			return fmt.Errorf("the watch has not ended; it printed\n%s", c.out.String())
		}
	}
}

func (c *console) eventually(t *testing.T, want string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(c.out.String(), want) }, limit, tick, want)
}

func TestWatchPrintsChangesUntilAllIsOver(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	plain, inJSON := newConsole(map[string]string{redisEnv: url}), newConsole(map[string]string{redisEnv: url})
	end, endJSON := watching(t, plain), watching(t, inJSON, "--json")
	plain.eventually(t, "there is no barrier yet in the store; waiting for one")
	b := open(t, url, "run-1", "")
	plain.eventually(t, "run-1 default: 0 of 3 arrived, 3 missing\n")
	inJSON.eventually(t, `"arrived":0`)
	report(t, b, core.Arrive, "1", "")
	plain.eventually(t, "run-1 default: 1 of 3 arrived, 2 missing\n")
	inJSON.eventually(t, `"arrived":1`)
	prints(t, url, "release", "--run-id", "run-1", "--yes")
	require.NoError(t, end())
	require.NoError(t, endJSON())
	assert.Contains(t, plain.out.String(), "run-1 default: released (operator): 1 of 3 arrived\n")
	assert.Len(t, strings.Split(strings.TrimSpace(plain.out.String()), "\n"), 4, "one line for each change")
	for line := range strings.Lines(inJSON.out.String()) {
		assert.True(t, json.Valid([]byte(line)), line)
	}
}

func TestWatchRedrawsOnATerminal(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	open(t, url, "run-1", "")
	c := newConsole(map[string]string{redisEnv: url})
	c.redraws = true
	end := watching(t, c)
	c.eventually(t, "\x1b[2A\x1b[JRUN")
	prints(t, url, "abort", "--run-id", "run-1", "--yes")
	require.NoError(t, end())
	assert.Contains(t, c.out.String(), "broken (abort)")
}

func TestWatchEndsWhenItIsInterrupted(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	open(t, url, "run-1", "")
	c := newConsole(map[string]string{redisEnv: url})
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.run(ctx, "watch") }()
	c.eventually(t, "3 missing")
	interrupt()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(limit):
		require.Fail(t, "the watch goes on")
	}
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"no store is named":                      {"list", "--redis", ""},
		"--limit is 0, it has to be from 1":      {"list", "--limit", "0"},
		"--missing is 1001":                      {"status", "--missing", "1001"},
		"--interval is 1ms":                      {"watch", "--interval", "1ms"},
		"--timeout is 0s":                        {"list", "--timeout", "0s"},
		`option redis: got http://u:***@127`:     {"list", "--redis", "http://u:sEcret@127.0.0.1"},
		`option runId: got "a b"`:                {"list", "--run-id", "a b"},
		"127.0.0.1:1 cannot be reached":          {"list", "--redis", "redis://:sEcret@127.0.0.1:1"},
		"--tls-ca: open /nowhere/ca.pem":         {"list", "--tls-ca", "/nowhere/ca.pem"},
		"option tls: got":                        {"list", "--tls-server-name", "redis.test"},
		`unknown command "x" for "barrier"`:      {"x"},
		`unknown command "extra" for "barrier l`: {"list", "extra"},
	} {
		env := map[string]string{redisEnv: "redis://127.0.0.1:1"}
		if strings.Contains(want, "no store") {
			env = nil
		}
		c := newConsole(env)
		err := c.run(t.Context(), args...)
		if assert.ErrorContains(t, err, want) {
			assert.NotContains(t, err.Error()+c.out.String()+c.err.String(), "sEcret")
		}
	}
}
