package sse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grafana/sobek"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"go.k6.io/k6/v2/metrics"
)

// TestABlockedHandlerStopsTheReading: events pour in while a handler blocks. No more than the buffers of the connection may
// be read, the server's writes must come to a halt, and afterwards no event may be missing.
func TestABlockedHandlerStopsTheReading(t *testing.T) {
	t.Parallel()
	const size, maxRead = 1000, 64 << 10
	for name, script := range map[string]string{
		"open":        `sse.open(url, { idleTimeout: 1000 }, (client) => client.on('event', (e) => handle(e.data)));`,
		"asyncOpen":   `sse.asyncOpen(url, { idleTimeout: 1000 }, (client) => client.on('event', (e) => handle(e.data)));`,
		"EventSource": `new EventSource(url, { idleTimeout: 1000 }).onmessage = (e) => { handle(e.data); if (e.data === 'end') e.target.close(); };`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			stalled := make(chan int64)
			v.set("url", rawServer(t, func(w *wire) {
				w.stream()
				var sent int64
				for i := 0; ; i++ {
					line := fmt.Sprintf("data: %d %s\n\n", i, strings.Repeat("x", size))
					_ = w.conn.SetWriteDeadline(time.Now().Add(1500 * time.Millisecond))
					n, err := w.conn.Write([]byte(line))
					sent += int64(n)
					if errors.Is(err, os.ErrDeadlineExceeded) {
						stalled <- sent
						_ = w.conn.SetWriteDeadline(time.Time{})
						w.send(line[n:], fmt.Sprintf("data: total %d\n\ndata: end\n\n", i))
						return
					}
					if err != nil {
						t.Error("the client gave the stream up:", err)
						close(stalled)
						return
					}
				}
			}))
			received, total := -1, 0
			v.set("handle", func(data string) {
				if _, err := fmt.Sscanf(data, "total %d", &total); err == nil || data == "end" {
					return
				}
				received++
				assert.True(t, strings.HasPrefix(data, fmt.Sprint(received)+" "))
				if received == 3 { // blocks for longer than the idle timeout, which must not mind
					sent := <-stalled
					read := atomic.LoadInt64(&v.dialer.BytesRead)
					assert.LessOrEqual(t, read, int64(maxRead))
					assert.Greater(t, sent, read)
				}
			})
			v.eval("%s", script)
			assert.Positive(t, total)
			assert.Equal(t, total, received, "every event came")
		})
	}
}

// TestTheEndOfTheIterationEndsStreamsAtOnce, wherever they are.
func TestTheEndOfTheIterationEndsStreamsAtOnce(t *testing.T) {
	t.Parallel()
	silent := func(w *wire) { w.stream(); w.hang() }
	for name, test := range map[string]struct {
		serve  func(*wire)
		script string
	}{
		"open, waiting for events":        {silent, `sse.open(url, {}, (client) => { client.on('open', reached); fail(client); });`},
		"open, in a blocking handler":     {silent, `sse.open(url, {}, (client) => { client.on('open', () => { reached(); park(); }); fail(client); });`},
		"open, waiting for headers":       {(*wire).hang, `reached(); sse.open(url, {}, fail);`},
		"open, in an error body":          {func(w *wire) { w.head(500); w.hang() }, `sse.open(url, {}, (client) => { client.on('open', reached); fail(client); });`},
		"asyncOpen, waiting for events":   {silent, `sse.asyncOpen(url, {}, (client) => { client.on('open', reached); fail(client); }).then(no, no);`},
		"asyncOpen, waiting for headers":  {(*wire).hang, `reached(); sse.asyncOpen(url, {}, fail).then(no, no);`},
		"EventSource, waiting for events": {silent, `const s = new EventSource(url); s.onopen = reached; s.onerror = no;`},
		"EventSource, reconnecting":       {func(w *wire) { w.reset() }, `new EventSource(url, { reconnectDelay: '1h' }).onerror = reached;`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			cancel := v.cancellable()
			ctx := v.VU.Context()
			var cancelled time.Time
			v.set("reached", func() {
				time.AfterFunc(20*time.Millisecond, func() { cancelled = time.Now(); cancel() })
			})
			v.set("park", func() { <-ctx.Done() })
			v.set("no", func() { t.Error("a handler was called after the iteration had ended") })
			v.set("url", rawServer(t, test.serve))
			v.set("blocks", strings.HasPrefix(name, "open"))
			_, err := v.run(`
				const fail = (client) => { client.on('event', no); client.on('error', no); };
				try { %s } finally { if (blocks) no(); }
				if (blocks) no();`, test.script)
			if strings.HasPrefix(name, "open") {
				var interrupted *sobek.InterruptedError
				require.ErrorAs(t, err, &interrupted, "the script must not take it for the end of the stream")
				assert.Equal(t, context.Canceled, interrupted.Value(), "k6 knows it by this value")
			} else {
				require.NoError(t, err)
			}
			<-ctx.Done()
			assert.Less(t, time.Since(cancelled), farAway)
			assert.Empty(t, v.logged())
		})
	}
}

// TestNoHandlerFollowsAnException: k6 cancels the context of the iteration, and then waits for callbacks.
func TestNoHandlerFollowsAnException(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	cancel := v.cancellable()
	sendMore := make(chan struct{})
	v.set("more", func() { cancel(); close(sendMore) })
	v.set("url", rawServer(t, func(w *wire) {
		w.stream()
		w.send("data: a\n\n")
		<-sendMore
		w.send("data: b\n\n")
		w.hang()
	}))
	_, err := v.run(`
		var out = [];
		const source = new EventSource(url);
		source.onmessage = (e) => out.push(e.data);
		source.addEventListener('message', () => { more(); throw new Error('went wrong'); });`)
	require.NoError(t, err, "the iteration was over already")
	assert.Equal(t, []any{"a"}, v.VU.Runtime().Get("out").Export())
}

func TestNothingBeginsAfterTheIteration(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	cancel := v.cancellable()
	v.set("url", unusedURL(t))
	v.eval(`var ran = 0, went = false, caught = false; const count = () => { ran++ };`)
	cancel()
	for _, call := range []string{`sse.open(url, count)`, `sse.open()`, `new EventSource(url)`} {
		_, err := v.run("try { %s; went = true } catch { caught = true }", call)
		var interrupted *sobek.InterruptedError
		require.ErrorAs(t, err, &interrupted, call)
	}
	assert.Equal(t, "0,false,false", v.eval(`sse.asyncOpen(url, count).then(count, count); sse.asyncOpen().then(count, count);
		var out = [ran, went, caught].join(); out`))
	assert.Equal(t, "0", v.eval(`out = String(ran)`))
	assert.Empty(t, v.values("http_reqs"))
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	bothOpens(t, func(t *testing.T, call string) {
		for name, test := range map[string]struct {
			serve  func(*wire)
			params string
			want   string
			status int64
		}{
			"no headers": {(*wire).hang, `{ connectTimeout: '50ms' }`, "SSEConnectTimeoutError: %s failed; reason: no response headers within 50ms (connectTimeout)", 0},
			"no headers within the whole time": {
				(*wire).hang, `{ timeout: '50' }`, "SSETimeoutError: %s failed; reason: the stream did not end within 50ms (timeout)", 0,
			},
			"the whole time passes while events come": {
				func(w *wire) {
					for w.stream(); w.send("data: a\n\n"); {
						time.Sleep(time.Millisecond)
					}
				},
				`{ timeout: 2000, idleTimeout: 1000 }`, "SSETimeoutError: %s failed; reason: the stream did not end within 2s (timeout)", 200,
			},
			"the idle time passes in an error body": {func(w *wire) { w.head(503); w.hang() }, `{ idleTimeout: 500 }`, "", 503},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				v := newVU(t)
				v.set("url", rawServer(t, test.serve))
				out := v.eval(`
					var out = [];
					(async () => {
						const result = await %s(url, %s, (client) => client.on('error', (e) => out.push(String(e))));
						out.push(result.status);
					})();`, call, test.params)
				want := []any{test.status}
				if test.want != "" {
					want = []any{fmt.Sprintf(test.want, call+"()"), test.status}
				}
				assert.Equal(t, want, out)
			})
		}
	})
}

func TestATimeoutPassesWhileAHandlerWorks(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	gone := make(chan struct{})
	v.set("gone", func() { <-gone })
	v.set("url", rawServer(t, func(w *wire) {
		w.stream()
		w.send(strings.Repeat("data: a\n\n", 100))
		w.hang()
		close(gone)
	}))
	out := v.eval(`
		var out = [];
		sse.open(url, { timeout: 3000 }, (client) => {
			client.on('event', (e) => { out.push(e.data); gone(); });
			client.on('error', (e) => out.push(e.name));
		});`)
	assert.Equal(t, []any{"a", "SSETimeoutError"}, out, "what was received before is not delivered after it")
}

func TestAnEndlessLineIsAnError(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) {
		for w.stream(); w.send(strings.Repeat("x", 10_000)); {
		}
	}))
	out := v.eval(`
		var out = [];
		sse.open(url, { maxEventSize: 100_000 }, (client) => client.on('error', (e) => out.push(e.name, e.error())));`)
	assert.Equal(t, []any{
		nameEventTooLargeError,
		"sse.open() failed; reason: event too large: more than maxEventSize = 100000 bytes without an end",
	}, out)
	assert.Less(t, atomic.LoadInt64(&v.dialer.BytesRead), int64(300_000))
}

// TestNothingIsLeftBehind opens and ends streams in every way. That no goroutine is left is checked by TestMain.
func TestNothingIsLeftBehind(t *testing.T) { //nolint:paralleltest // it counts the descriptors of the process
	const rounds = 150 // of eleven streams
	v := newVU(t)
	v.set("nobody", unusedURL(t))
	v.set("url", rawServer(t, func(w *wire) {
		switch w.req.URL.Path {
		case "/reset":
			w.stream()
			w.send("data: a\n\n")
			w.reset()
		case "/early":
			w.reset()
		case "/hang":
			w.stream()
			w.send("data: a\n\n")
			w.hang()
		case "/mute":
			w.hang()
		case "/503":
			w.head(http.StatusServiceUnavailable)
		default:
			w.stream()
			w.send("data: a\n\n")
		}
	}))
	round := `
		const quiet = (client) => client.on('error', () => {});
		const close = (client) => client.on('event', () => client.close());
		for (const path of ['/', '/reset', '/early', '/503']) sse.open(url + path, {}, quiet);
		sse.open(nobody, {}, quiet);
		sse.open(url + '/hang', {}, close);
		sse.open(url + '/hang', { idleTimeout: 1 }, quiet);
		sse.open(url + '/mute', { connectTimeout: 1 }, quiet);
		try { sse.open(url + '/hang', {}, (client) => client.on('event', () => { throw 1; })); } catch (e) {}
		sse.asyncOpen(url + '/hang', {}, close);
		new EventSource(url + '/hang').onmessage = (e) => e.target.close();`
	before := -1
	for i := range rounds {
		v.eval("{%s}", round)
		if i == 0 {
			before = descriptors(t)
		}
	}
	assert.Len(t, v.values(metrics.HTTPReqsName), 11*rounds)
	assert.Eventually(t, func() bool { return descriptors(t) <= before }, farAway, time.Millisecond,
		"there were %d descriptors after one round", before)
}

// TestManyStreamsAtOnce holds them all open in one VU.
func TestManyStreamsAtOnce(t *testing.T) {
	t.Parallel()
	const streams = 1000
	v := newVU(t)
	var open atomic.Int64
	all := make(chan struct{})
	v.set("url", rawServer(t, func(w *wire) {
		w.stream()
		if open.Add(1) == streams {
			close(all)
		}
		<-all
		w.send("data: a\n\n")
		w.hang()
	}))
	out := v.eval(`
		var out = 0;
		for (let i = 0; i < %d; i++) {
			const source = new EventSource(url);
			source.onmessage = () => { out++; source.close(); };
		}`, streams)
	assert.EqualValues(t, streams, out)
	assert.InDelta(t, streams, v.sum(metricEvents), 0)
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd") // Linux and macOS have it
	require.NoError(t, err)
	return len(entries)
}
