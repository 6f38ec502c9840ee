package sse

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests in this file are named after faults of an earlier module, each of which was seen in a run. None may return.

// Fault a: an error after the headers left the call blocked until k6 ended the VU.
func TestFaultAErrorsReturnAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		serve   func(*wire)
		params  string
		error   string
		message string
	}{
		"a reset": {
			func(w *wire) { w.stream(); w.send("data: a\n\n"); <-w.seen; w.reset() },
			`{}`, nameConnectionError, "connection reset",
		},
		"the timeout": {
			func(w *wire) { w.stream(); w.send("data: a\n\n"); w.hang() },
			`{ timeout: 2000 }`, nameTimeoutError, "within 2s (timeout)",
		},
		"the idle timeout": {
			func(w *wire) { w.stream(); w.send("data: a\n\n"); w.hang() },
			`{ idleTimeout: '1s' }`, nameIdleTimeoutError, "within 1s (idleTimeout)",
		},
		"a cut in the middle of a chunk": {
			func(w *wire) {
				w.head(http.StatusOK, "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
				w.send("9\r\ndata: a\n\n\r\n9\r\ndata")
			},
			`{}`, nameConnectionError, "unexpected EOF",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			seen := make(chan struct{})
			v.set("url", rawServer(t, func(w *wire) {
				w.seen = seen
				test.serve(w)
			}))
			v.set("seen", func() { close(seen) })
			out := v.eval(`
				var out = { data: [], errors: [] };
				out.result = sse.open(url, %s, (client) => {
					client.on('event', (e) => { out.data.push(e.data); seen(); });
					client.on('error', (e) => out.errors.push([e.name, e.error(), e.message]));
				});`, test.params).(map[string]any) //nolint:forcetypeassert // it is one
			assert.Equal(t, []any{"a"}, out["data"])
			require.Len(t, out["errors"], 1, "the error handler is called once")
			got := out["errors"].([]any)[0].([]any) //nolint:forcetypeassert // it is one
			assert.Equal(t, test.error, got[0])
			assert.Contains(t, got[1], "sse.open() failed; reason: ")
			assert.Contains(t, got[1], test.message)
			assert.Equal(t, got[1], got[2])
			result := out["result"].(map[string]any) //nolint:forcetypeassert // it is one
			assert.Equal(t, got[1], result["error"])
			assert.EqualValues(t, 200, result["status"], "the status of the response stays")
		})
	}
}

// Fault b: the only timeout was for the whole stream, so that a healthy stream was cut and a dead one was not.
func TestFaultBAnIdleTimeoutSparesAHealthyStream(t *testing.T) {
	t.Parallel()
	const idle, beats = 2 * time.Second, 10
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) {
		w.stream()
		for range beats { // for longer than the idle timeout in all
			w.send(": beat\n\n")
			time.Sleep(idle / 8)
		}
		w.send("data: end\n\n")
	}))
	start := time.Now()
	out := v.eval(`
		var out = [];
		const result = sse.open(url, { idleTimeout: %d }, (client) => {
			client.on('event', (e) => out.push(e.comment + e.data));
			client.on('error', (e) => out.push(e.error()));
		});
		out.push(result.error);`, idle.Milliseconds()).([]any) //nolint:forcetypeassert // it is one
	assert.Greater(t, time.Since(start), idle)
	require.Len(t, out, beats+2)
	assert.Equal(t, []any{"end", ""}, out[beats:])
}

// Fault c: after a failed connect no error handler was called, because the setup function had not run.
func TestFaultCAFailedConnectReachesTheErrorHandler(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", unusedURL(t))
	out := v.eval(`
		var out = [];
		const result = sse.open(url, {}, (client) => {
			out.push('setup ' + client.status);
			client.on('open', () => out.push('open'));
			client.on('event', () => out.push('event'));
			client.on('error', (e) => out.push(e.name, e.errorCode, e.error()));
		});
		out.push(result.status, result.error, result.url === url, JSON.stringify(result.headers));`)
	require.Len(t, out, 8)
	got := out.([]any) //nolint:forcetypeassert // it is one
	assert.Equal(t, []any{"setup 0", "SSEConnectError", int64(1212)}, got[:3])
	assert.Contains(t, got[3], "connection refused")
	assert.Equal(t, []any{int64(0), got[3], true, "{}"}, got[4:])
}

// Fault d: a malformed URL was a nil pointer panic.
func TestFaultDAMalformedURLIsAnError(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		`'http://a b/'`, `'://'`, `':'`, `''`, `'/path'`, `'ftp://example.com/'`, `'http://'`, `'http://[::1'`, `'http://%zz/'`,
		`'http://secret:pass word@host:port/'`, `undefined`, `null`, `42`, `{}`, "'http://example.com:port/'",
	} {
		v := newVU(t)
		out := v.eval(`
			var out = [];
			const result = sse.open(%s, {}, (client) => {
				out.push('setup');
				client.on('open', () => out.push('open'));
				client.on('error', (e) => out.push(e.name, e.errorCode, e.error()));
			});
			out.push(result.status, result.error, result.url);`, url).([]any) //nolint:forcetypeassert // it is one
		require.Len(t, out, 7, url)
		assert.Equal(t, []any{"setup", nameInvalidURLError, int64(codeInvalidURL)}, out[:3], url)
		assert.Contains(t, out[3], "sse.open() failed; reason: invalid URL: ", url)
		assert.NotContains(t, out[3], "secret", url)
		assert.NotContains(t, out[3], "word", url)
		assert.Equal(t, []any{int64(0), out[3], ""}, out[4:], url)

		_, err := v.run(`sse.open(%s, { throw: true }, () => {})`, url)
		require.ErrorContains(t, err, "SSEInvalidURLError: sse.open() failed; reason: invalid URL", url)
	}
}

// Fault e: handlers could not see the status, and the JSON body of a 401 was parsed as events.
func TestFaultEAnErrorStatusIsVisibleAndItsBodyIsNoEvent(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) {
		w.head(http.StatusUnauthorized, "Content-Type: application/json", "X-Reason: token")
		w.send("{\"message\": \"no\"}\ndata: no event\n\n")
	}))
	out := v.eval(`
		var out = [];
		const result = sse.open(url, {}, (client) => {
			out.push(client.status, client.headers['X-Reason']);
			client.on('open', () => out.push('open ' + client.status));
			client.on('event', (e) => out.push(e.data));
			client.on('error', (e) => out.push(e.error()));
		});
		out.push(result.status, result.error);`)
	assert.Equal(t, []any{int64(401), "token", "open 401", int64(401), ""}, out)
	assert.Zero(t, v.sum(metricEvents))
}

// Fault f: it was undocumented that comments are delivered and counted. Scripts rely on it now, so it is kept.
func TestFaultFCommentsAreEventsWithEmptyData(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) {
		w.stream()
		w.send(":heartBeat\n\ndata:a\n\n: ping\n\n")
	}))
	out := v.eval(`
		var out = [];
		sse.open(url, {}, (client) => client.on('event', (e) => out.push(JSON.stringify(e))));`)
	assert.Equal(t, []any{
		`{"id":"","comment":"heartBeat","name":"","data":""}`,
		`{"id":"","comment":"","name":"","data":"a"}`,
		`{"id":"","comment":"ping","name":"","data":""}`,
	}, out)
	assert.InDelta(t, 3, v.sum(metricEvents), 0)
	assert.Len(t, v.values(metricFirstEvent), 1)
}

// Fault g: ids did not last and kept a carriage return, so nothing could be resumed; retry was ignored.
func TestFaultGIdsLastAndResume(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	var mu sync.Mutex
	var resumed []string
	v.set("url", rawServer(t, func(w *wire) {
		mu.Lock()
		resumed = append(resumed, w.req.Header.Get("Last-Event-ID"))
		mu.Unlock()
		w.stream()
		w.send("retry: 1\r\nid: 7\r\ndata: a\r\n\r\ndata: b\r\n\r\n")
	}))
	out := v.eval(`
		var out = [];
		sse.open(url, {}, (client) => client.on('event', (e) => out.push(e.id + e.data)));
		const source = new EventSource(url, { reconnectDelay: '1h' });
		let left = 3;
		source.onmessage = (e) => {
			out.push(e.lastEventId + e.data);
			if (--left === 0) source.close();
		};`)
	assert.Equal(t, []any{"7a", "7b", "7a", "7b", "7a"}, out)
	assert.Equal(t, []string{"", "", "7"}, resumed)
	assert.InDelta(t, 1, v.sum(metricReconnects), 0)
}

// Fault h: every call opened a TCP connection of its own.
func TestFaultHConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	peers := make(map[string]int)
	v.set("url", httpServer(t, func(res http.ResponseWriter, req *http.Request) {
		peers[req.RemoteAddr]++
		switch req.URL.Path {
		case "/401":
			res.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(res, "a body")
		case "/204":
			res.WriteHeader(http.StatusNoContent)
		case "/301":
			http.Redirect(res, req, "/", http.StatusMovedPermanently)
		default:
			res.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(res, "data: a\n\n")
		}
	}))
	v.eval(`
		for (const path of ['/', '/', '/401', '/', '/204', '/', '/301', '/']) {
			sse.open(url + path, {}, () => {});
			http.get(url);
		}`)
	assert.Len(t, peers, 1)
	for _, n := range peers {
		assert.Equal(t, 17, n)
	}
}

// Fault i: promises that handlers start do not go on while open blocks. That is in the nature of a blocking call; asyncOpen
// and EventSource are there for it, and after open has returned they do go on.
func TestFaultIPromisesGoOnBesideAsyncStreams(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ script, want string }{
		"open": {
			`sse.open(url, {}, (client) => client.on('event', async (e) => {
				out.push('before ' + e.data);
				await step();
				out.push('after ' + e.data);
			}));
			out.push('returned');`,
			"before 1,before 2,returned,after 1,after 2",
		},
		"asyncOpen": {
			`asyncOpen(url, {}, (client) => client.on('event', async (e) => {
				out.push('before ' + e.data);
				await step();
				out.push('after ' + e.data);
				proceed();
			})).then(() => out.push('returned'));`,
			"before 1,after 1,before 2,after 2,returned",
		},
		"EventSource": {
			`const source = new EventSource(url);
			source.onmessage = async (e) => {
				out.push('before ' + e.data);
				await step();
				out.push('after ' + e.data);
				proceed();
				if (e.data === '2') source.close();
			};`,
			"before 1,after 1,before 2,after 2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			proceed := make(chan struct{}, 10)
			if name == "open" {
				proceed <- struct{}{}
				proceed <- struct{}{}
			}
			v.set("proceed", func() { proceed <- struct{}{} })
			v.set("url", rawServer(t, func(w *wire) {
				w.stream()
				w.send("data: 1\n\n")
				<-proceed
				w.send("data: 2\n\n")
				<-proceed
			}))
			out := v.eval(`
				var out = [];
				const step = () => new Promise((resolve) => setTimeout(resolve, 1));
				%s`, test.script)
			got := ""
			for i, line := range out.([]any) { //nolint:forcetypeassert // it is one
				if i > 0 {
					got += ","
				}
				got += line.(string) //nolint:forcetypeassert // it is one
			}
			assert.Equal(t, test.want, got)
		})
	}
}
