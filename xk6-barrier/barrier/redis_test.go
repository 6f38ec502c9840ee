package barrier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/lib"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

func TestProcessesShareABarrierOverRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	script := fmt.Sprintf(`const b = new Barrier('default', { parties: 4, store: '%s', timeout: '20s', reasons: ['login', 'sse'] })`,
		server.URL())
	one, two := newProcess(t), newProcess(t)
	one.env[runIDEnv], two.env[runIDEnv] = "run-1", "run-1"
	users := []*virtualUser{one.user(1, script), one.user(2, script), two.user(3, script)}

	failed := two.user(4, script)
	assert.Equal(t, `{"outcome":"failed","reason":"login","phase":0}`, failed.json(`b.fail('login')`))
	for _, result := range together(users, `(({ reason, arrived, failed, serverReleasedAt }) =>
		[reason, arrived, failed.login, serverReleasedAt > 1.6e12])(b.arriveAndWait({ participant: 'x' + Math.random() }))`) {
		assert.Equal(t, `["all",3,1,true]`, result)
	}
	assert.Equal(t, `["redis","run-1",true]`, failed.json(`[b.status().store, b.status().runId, b.status().connected]`))
	joined, err := server.SCard(t.Context(), "K6_BARRIER_JOINED:run-1").Result()
	require.NoError(t, err)
	assert.EqualValues(t, 3, joined, "as readers outside k6 see it")
	assert.Equal(t, "1", server.Get(t.Context(), "K6_BARRIER_LOGIN_FAIL:run-1").Val())
	assert.Equal(t, "0", server.Get(t.Context(), "K6_BARRIER_SSE_FAIL:run-1").Val())
}

func TestRandomRunIDIsLogged(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	v := p.user(1, fmt.Sprintf(`const b = new Barrier('default', { parties: 1, store: '%s' })`, server.URL()))
	assert.Equal(t, `"all"`, v.json(`b.arriveAndWait().reason`))
	id := v.mustRun(`b.status().runId`).String()
	assert.Contains(t, strings.Join(p.messages(), "\n"), fmt.Sprintf(`barrier "default" has the random run id %q`, id))
}

func TestStoreThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 1, store: 'redis://127.0.0.1:1', runId: 'r' })`)
	assert.Equal(t, "BarrierStoreError,STORE,true", v.errorOf(`b.arrive()`,
		`[e.name, e.code, e.message.startsWith('arrive() failed; reason: ')]`))
	assert.Equal(t, "BarrierStoreError", v.errorOf(`b.arrive()`, `e.name`), "the next call tries again")
}

func TestHostsAreResolvedAsK6Does(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	script := fmt.Sprintf(`const b = new Barrier('default', { parties: 1, store: 'redis://redis.test:%d', runId: 'r' });
		const q = new QueueCounter({ redis: 'redis://redis.test:%[1]d', keys: ['k'] })`, server.Port)
	known := p.user(1, script, func(s *lib.State) { s.Dialer = resolver{"redis.test": net.IPv4(127, 0, 0, 1)} })
	assert.Equal(t, `1`, known.json(`b.arrive().index`))
	assert.Equal(t, `0`, known.json(`q.total()`))

	blocked := newProcess(t).user(1, script, func(s *lib.State) { s.Dialer = resolver{} })
	for _, call := range []string{`b.arrive()`, `q.total()`} {
		assert.Regexp(t, `^BarrierStoreError: (arrive|total)\(\) failed; reason: the address redis.test:\d+ could not be `+
			`resolved: blocked$`, blocked.errorOf(call, `e`))
	}
}

// resolver stands in for k6's dialer.
type resolver map[string]net.IP

func (resolver) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

func (r resolver) ResolveAddr(address string) (net.IP, int, error) {
	host, _, err := net.SplitHostPort(address)
	if ip, ok := r[host]; ok {
		return ip, 0, err
	}
	return nil, 0, errors.New("blocked")
}

func TestQueueCounter(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	ctx := t.Context()
	require.NoError(t, server.ZAdd(ctx, "zset", redis.Z{Member: "a"}, redis.Z{Member: "b"}).Err())
	require.NoError(t, server.HSet(ctx, "hash", "c", 1).Err())
	require.NoError(t, server.Set(ctx, "text", "x", 0).Err())

	p := newProcess(t)
	v := p.user(1, fmt.Sprintf(`const redis = '%s', q = new QueueCounter({ redis, keys: ['zset', 'hash', 'none'] }),
		wrong = new QueueCounter({ redis, keys: ['zset', 'text'] })`, server.URL()))
	assert.Equal(t, `{"hash":1,"none":0,"zset":2}`, v.json(`q.counts()`))
	assert.Equal(t, `3`, v.json(`q.total()`))
	assert.Equal(t, "QueueTypeError,TYPE,text,string", v.errorOf(`wrong.counts()`, `[e.name, e.code, e.key, e.type]`))
	assert.Equal(t, `[3,true]`, v.json(`(({ total, waitedMs }) => [total, waitedMs > 0])(q.waitFor(3))`))
	assert.Regexp(t, `^QueueTimeoutError: waitFor\(\) failed; reason: the queues hold 3 of 1,000 after [0-9.]+ms$`,
		v.errorOf(`q.waitFor(1000, { timeout: 30, interval: 10 })`, `e`))
	assert.Equal(t, `3`, v.mustRun(`(async () => String(await q.asyncTotal()))()`).String())
	assert.Equal(t, `2`, v.mustRun(`(async () => String((await q.asyncCounts()).zset))()`).String())

	assert.Equal(t, `[null,1,"7","OK",null]`, v.json(`[q.command('HGET', 'idx', 'e1'), q.command('HSET', 'idx', 'e1', 7),
		q.command('HGET', 'idx', 'e1'), q.command('SET', 'at', 1.5, 'EX', 60), q.command('GET', 'none')]`))
	assert.Equal(t, "1.5", server.Get(ctx, "at").Val())
	assert.Equal(t, `1`, v.mustRun(`(async () => String(await q.asyncCommand('HLEN', 'idx')))()`).String())
	assert.Contains(t, v.errorOf(`q.command('GET', 'idx')`, `e`), "BarrierStoreError: command() failed; reason: key idx: ")
	assert.Contains(t, v.errorOf(`q.command('FLUSHALL', 'x')`, `e`),
		`BarrierOptionError: command() failed; reason: option "command": got "FLUSHALL", allowed is DEL, EXISTS, GET, `)
	typings := readTypings(t)
	declared := find(find1(t, typings, `(?s)type QueueCommand =(.*?);`), `'([A-Z]+)'`)
	assert.Equal(t, v.errorOf(`q.command('FLUSHALL', 'x')`, `e.allowed`), strings.Join(declared, ", "))

	// Lengths are plain data, whatever a script does with them.
	v.mustRun(`const lengths = q.counts()`)
	assert.Equal(t, `["hash","none","zset"]`, v.json(`Object.keys(lengths)`))
	assert.Equal(t, `[1,null,false,true]`, v.json(`[lengths.hash, lengths.other, 'other' in lengths, lengths.hasOwnProperty('none')]`))
	assert.Equal(t, `{"hash":1,"none":0,"zset":2,"more":3}`, v.json(`({ ...lengths, more: 3 })`))
	assert.Equal(t, `{"none":0,"zset":20,"other":5}`, v.json(`(delete lengths.hash, lengths.zset = 20, lengths.other = 5, lengths)`))
	assert.Equal(t, `[null,20,5,["none","zset","other"]]`,
		v.json(`[lengths.hash, lengths.zset, lengths.other, Object.keys(lengths)]`))
	assert.Equal(t, `{"hash":1,"none":0,"zset":2}`, v.json(`q.counts()`), "of another count")
	exported, err := json.Marshal(v.mustRun(`q.counts()`).Export())
	require.NoError(t, err)
	assert.JSONEq(t, `{"hash":1,"none":0,"zset":2}`, string(exported))

	filled := make(chan []string)
	go func() { filled <- together([]*virtualUser{v}, `q.waitFor(4, { interval: 10 }).counts`) }()
	require.NoError(t, server.HSet(ctx, "hash", "d", 1).Err())
	assert.Equal(t, `{"hash":2,"none":0,"zset":2}`, (<-filled)[0])
}

func TestEndOfTheIterationEndsWaitFor(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	v := p.user(1, fmt.Sprintf(`const q = new QueueCounter({ redis: '%s', keys: ['k'] })`, server.URL()))
	v.mustRun(`q.total()`)
	ended := make(chan error)
	go func() { _, err := v.run(`q.waitFor(1, { timeout: '1h' })`); ended <- err }()
	v.cancel()
	require.Error(t, <-ended)
}

func TestBarrierSurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	script := fmt.Sprintf(`const b = new Barrier('default', { parties: 3, store: '%s', runId: 'r', timeout: '20s' })`, server.URL())
	users := p.users(3, script)
	users[0].mustRun(`b.arrive()`)
	waited := make(chan []string)
	go func() { waited <- together(users[1:2], `b.arriveAndWait().arrived`) }()
	require.Eventually(t, func() bool { return p.waiting("default") == 1 }, wakeLimit, wakeTick)

	server.Restart(t)
	result := together(users[2:], `(() => { try { return b.arriveAndWait().arrived } catch (e) {
		if (!e.pending) throw e; return b.wait().arrived } })()`)
	assert.Equal(t, []string{`3`}, result, "the arrivals before the restart were replayed")
	assert.Equal(t, []string{`3`}, <-waited)
}

// pause makes the server hang: connections stay open, nothing is answered.
func pause(t *testing.T, s *redistest.Server) (goOn func()) {
	t.Helper()
	require.NoError(t, s.Process.Process.Signal(syscall.SIGSTOP))
	goOn = sync.OnceFunc(func() { _ = s.Process.Process.Signal(syscall.SIGCONT) })
	t.Cleanup(goOn)
	return goOn
}

// The core waits 10 s for an answer, and 7 s for a connection: much longer than these waits may last.
func TestStoreThatHangsDoesNotProlongAWait(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := newProcess(t)
	script := fmt.Sprintf(`const b = new Barrier('default', { parties: 3, store: '%s', runId: 'r', cyclic: true });
		const q = new QueueCounter({ redis: '%[1]s', keys: ['k'] })`, server.URL())
	users := p.users(3, script)
	users[0].mustRun(`b.missing(); q.total()`)
	goOn := pause(t, server)

	// Had the core's limits ended them, the texts were others.
	for at, test := range []struct{ call, want string }{
		{`b.arriveAndWait({ timeout: 100 })`, `^BarrierStoreError,true,arriveAndWait\(\) failed; reason: barrier "default": ` +
			`the store has not answered within [0-9.]+s; the outcome stands and is delivered later$`},
		// Why, is what the connection found out first.
		{`b.wait({ timeout: 100 })`, `^BarrierStoreError,false,wait\(\) failed; reason: barrier "default": not released within ` +
			`[0-9.]+s: 0 of 3 arrived, 3 missing; the store could not be asked any more: [^;]+$`},
		{`q.waitFor(1, { timeout: 100 })`, `^QueueTimeoutError,false,waitFor\(\) failed; reason: the queues hold 0 of 1 after ` +
			`[0-9.]+s; the server does not answer$`},
	} {
		assert.Regexp(t, test.want, users[at].errorOf(test.call, `[e.name, e.pending, e.message]`), test.call)
	}
	goOn()
	waited := make(chan []string)
	go func() { waited <- together(users[:1], `b.arriveAndWait({ timeout: '30s' }).phase`) }()
	users[1].mustRun(`b.arrive()`)
	users[2].mustRun(`b.arrive()`)
	assert.Equal(t, []string{`0`}, <-waited, "the arrival was delivered, and its call joins it again")
}

func TestAbortReachesWaitersOfOtherProcesses(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	script := fmt.Sprintf(`const b = new Barrier('default', { parties: 9, store: '%s', runId: 'r', timeout: '20s' })`, server.URL())
	one, two := newProcess(t), newProcess(t)
	broken := make(chan []string)
	go func() {
		broken <- together(one.users(2, script), `(() => { try { b.arriveAndWait() } catch (e) { return e.message } })()`)
	}()
	require.Eventually(t, func() bool { return one.waiting("default") == 2 }, wakeLimit, wakeTick)
	two.user(3, script).mustRun(`b.abort('the target is down')`)
	for _, message := range <-broken {
		assert.Equal(t, `"arriveAndWait() failed; reason: barrier \"default\" is broken (abort): the target is down"`, message)
	}
}

// A server that accepts connections and never says a word: opening the barrier, too, is part of the wait.
func TestSilentServerDoesNotProlongAWait(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	v := newProcess(t).user(1, fmt.Sprintf(`const b = new Barrier('default', { parties: 1, store: 'redis://%s', runId: 'r', timeout: 10 })`,
		silent.Addr()))
	for _, call := range []string{"wait", "arriveAndWait"} {
		assert.Regexp(t, `^BarrierStoreError,false,`+call+`\(\) failed; reason: barrier "default": the store has not answered within [0-9.]+s$`,
			v.errorOf(`b.`+call+`()`, `[e.name, e.pending, e.message]`))
	}
}

// What goes wrong when several processes are started, each with the remedy.
func TestProcessesThatDoNotBelongTogether(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	script := func(options string) string {
		return fmt.Sprintf(`const b = new Barrier('default', { store: '%s', runId: 'r', %s })`, server.URL(), options)
	}
	first := newProcess(t)
	first.user(1, script(`parties: 2`)).mustRun(`b.arrive()`)

	assert.Equal(t, `BarrierOptionError: arrive() failed; reason: option "parties": got 3, allowed is 2, which the barrier was `+
		`opened with elsewhere`, newProcess(t).user(2, script(`parties: 3`)).errorOf(`b.arrive()`, `e`))
	assert.Regexp(t, `^BarrierConflictError: arrive\(\) failed; reason: .*participant "?1"?.*execution segments.*participant`,
		newProcess(t).user(1, script(`parties: 2`)).errorOf(`b.arrive()`, `e`))

	// A process that was killed says no goodbye. What it left behind is no run to join.
	abandoned := newProcess(t)
	abandoned.user(1, fmt.Sprintf(`const b = new Barrier('old', { store: '%s', runId: 'r', parties: 2 })`, server.URL())).mustRun(`b.arrive()`)
	left, err := server.Dump(t.Context(), "K6_BARRIER_STATE:r:old").Result()
	require.NoError(t, err)
	abandoned.root.client.Close(5 * time.Second)
	require.NoError(t, server.RestoreReplace(t.Context(), "K6_BARRIER_STATE:r:old", time.Minute, left).Err())
	message := newProcess(t).user(2, fmt.Sprintf(`const b = new Barrier('old', { store: '%s', runId: 'r', parties: 2 })`,
		server.URL())).errorOf(`b.arrive()`, `[e.name, e.message]`)
	assert.Regexp(t, `^BarrierConflictError,arrive\(\) failed; reason: .*earlier run.*`, message)
	assert.Contains(t, message, "run id", "the remedy")
}
