package sse

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"go.k6.io/k6/v2/metrics"
)

func TestEventSourceFollowsTheStandard(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) {
		assert.Equal(t, "text/event-stream", w.req.Header.Get("Accept"))
		assert.Equal(t, "no-cache", w.req.Header.Get("Cache-Control"))
		assert.Equal(t, "x", w.req.Header.Get("X-Mine"))
		w.stream()
		w.send(": not seen by browsers\n\n", "id: 1\ndata: a\n\n", "event: add\ndata: b\n\n", "event: sub\ndata: c\n\n", "data: end\n\n")
		w.hang()
	}))
	out := v.eval(`
		var out = [];
		const source = new EventSource(url + '/?a=b', { headers: { 'X-Mine': 'x' }, tags: { mine: 'y' } });
		out.push(source instanceof EventSource, source.url === url + '/?a=b', source.readyState, source.withCredentials);
		out.push(EventSource.CONNECTING, EventSource.OPEN, EventSource.CLOSED, source.CONNECTING, source.OPEN, source.CLOSED);
		out.push(source.onopen, source.onmessage, source.onerror, source.lastEventId);
		source.onopen = function (e) {
			out.push(e.type, e.target === source, this === source, source.readyState);
		};
		source.onmessage = (e) => {
			out.push([e.type, e.data, e.lastEventId, source.lastEventId, e.origin === url, typeof e.timestamp].join());
			if (e.data === 'end') {
				source.close();
				out.push(source.readyState);
				source.close();
			}
		};
		source.addEventListener('add', (e) => out.push([e.type, e.data, e.lastEventId].join()));
		source.onerror = () => out.push('error');`)
	assert.Equal(t, []any{
		true, true, int64(0), false, int64(0), int64(1), int64(2), int64(0), int64(1), int64(2),
		nil, nil, nil, "",
		"open", true, true, int64(1),
		"message,a,1,1,true,number", "add,b,1", "message,end,1,1,true,number", int64(2),
	}, out)
	assert.InDelta(t, 4, v.sum(metricEvents), 0, "what was delivered")
	assert.Equal(t, "y", v.find(metricEvents)[1].Tags.Map()["mine"])
	assert.Len(t, v.values(metrics.HTTPReqsName), 1)
	assert.Len(t, v.values(metricStream), 1)
}

func TestEventSourceListeners(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) {
		w.stream()
		w.send("data: 1\n\n", "data: 2\n\n")
		w.hang()
	}))
	out := v.eval(`
		var out = [];
		const source = new EventSource(url);
		const a = (e) => out.push('a' + e.data);
		const removed = () => out.push('removed');
		source.addEventListener('message', a);
		source.addEventListener('message', a);
		source.addEventListener('message', null);
		source.onmessage = () => out.push('replaced');
		source.addEventListener('message', (e) => {
			out.push('once' + e.data);
			source.removeEventListener('message', removed);
		}, { once: true });
		source.addEventListener('message', removed);
		source.addEventListener('message', (e) => { if (e.data === '2') source.close(); });
		const on = (e) => out.push('on' + e.data);
		source.onmessage = on;
		out.push(source.onmessage === on);
		source.onerror = a;
		source.onerror = null;
		source.removeEventListener('message', on);
		source.removeEventListener('other', on);
		for (const wrong of [() => source.addEventListener('message', 1), () => { source.onopen = 'f'; }]) {
			try { wrong(); } catch (e) { out.push(e.message); }
		}`)
	assert.Equal(t, []any{
		true,
		`addEventListener() failed; reason: option "listener": got 1, allowed is a function`,
		`EventSource failed; reason: option "onopen": got "f", allowed is a function or null`,
		"a1", "on1", "once1", "a2", "on2",
	}, out)
}

func TestEventSourceReconnects(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*wire){
		"after an end":           func(*wire) {},
		"after a reset":          (*wire).reset,
		"after the idle timeout": (*wire).hang,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			var connections atomic.Int64
			v.set("url", rawServer(t, func(w *wire) {
				n := connections.Add(1)
				if n == 2 {
					w.reset() // before any response
					return
				}
				w.stream()
				w.send(fmt.Sprintf("data: %d %s\n\nid: %d\n\n", n, w.req.Header.Get("Last-Event-ID"), n), "id: unfinished\ndata: x\n")
				end(w)
			}))
			out := v.eval(`
				var out = [];
				const source = new EventSource(url, { reconnectDelay: 1, idleTimeout: 1000 });
				source.onopen = () => out.push('open ' + source.readyState);
				source.onmessage = (e) => { out.push(e.data); if (e.data.startsWith('4')) source.close(); };
				source.onerror = (e) => out.push('error ' + source.readyState);`)
			assert.Equal(t, []any{
				"open 1", "1 ", "error 0", "error 0", "open 1", "3 1", "error 0", "open 1", "4 3",
			}, out)
			assert.InDelta(t, 3, v.sum(metricReconnects), 0)
			assert.Len(t, v.values(metrics.HTTPReqsName), 4)
		})
	}
}

func TestEventSourceStopsForGood(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		serve func(*wire)
		want  string
		code  int64
	}{
		"204": {func(w *wire) { w.head(http.StatusNoContent) }, "SSEStatusError: EventSource failed; reason: got the status 204; expected 200", 1000},
		"401": {func(w *wire) { w.head(http.StatusUnauthorized, "Content-Type: text/event-stream") }, "SSEStatusError: EventSource failed; reason: got the status 401; expected 200", 1401},
		"503": {func(w *wire) { w.head(http.StatusServiceUnavailable) }, "SSEStatusError: EventSource failed; reason: got the status 503; expected 200", 1503},
		"another type": {
			func(w *wire) { w.head(http.StatusOK, "Content-Type: text/html") },
			`SSEContentTypeError: EventSource failed; reason: got Content-Type "text/html"; expected text/event-stream`, 1000,
		},
		"too large": {
			func(w *wire) { w.stream(); w.send("data: 0123456789\n\n"); w.hang() },
			"SSEEventTooLargeError: EventSource failed; reason: event too large: more than maxEventSize = 10 bytes without an end", 1000,
		},
		"the end of its time while open": {
			func(w *wire) { w.stream(); w.hang() }, "SSETimeoutError: EventSource failed; reason: the source was not closed within 2s (timeout)", 1050,
		},
		"the end of its time while connecting": {
			(*wire).hang, "SSETimeoutError: EventSource failed; reason: the source was not closed within 2s (timeout)", 1050,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			v.set("url", rawServer(t, test.serve))
			v.set("timeout", map[bool]int{true: 2000, false: 60_000}[strings.HasPrefix(test.want, "SSETimeoutError")])
			out := v.eval(`
				var out = [];
				const source = new EventSource(url, { reconnectDelay: 1, maxEventSize: 10, timeout });
				source.onerror = (e) => out.push(source.readyState, String(e.error), e.error.errorCode, e.message === e.error.message);`)
			assert.Equal(t, []any{int64(2), test.want, test.code, true}, out)
		})
	}
}

func TestEventSourceTimeEndsBetweenConnections(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", unusedURL(t))
	out := v.eval(`
		var out = [];
		const source = new EventSource(url, { reconnectDelay: '1h', timeout: 2000 });
		source.onerror = (e) => out.push(source.readyState, e.error.name);`)
	assert.Equal(t, []any{int64(0), nameConnectError, int64(2), nameTimeoutError}, out)

	v.eval(`new EventSource(url, { timeout: 1 });`)
	assert.Contains(t, v.logged(), "Event stream failed", "nobody else would learn of it")
}

func TestEventSourceCanBeClosedAtAnyTime(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"at once":            `source.close();`,
		"while connecting":   `setTimeout(() => source.close(), 20);`,
		"while reconnecting": `source.onerror = () => setTimeout(() => source.close(), 20);`,
		"in onerror":         `source.onerror = () => source.close();`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			v.set("url", rawServer(t, func(w *wire) {
				if name == "while connecting" {
					w.hang()
				}
			}))
			v.eval(`
				const source = new EventSource(url, { reconnectDelay: '1h' });
				%s`, script)
			assert.EqualValues(t, stateClosed, v.eval(`var out = source.readyState;`))
			assert.NotContains(t, v.logged(), "context canceled")
		})
	}
}

func TestEventSourceExceptionsEndTheIteration(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"onopen", "onmessage", "onerror"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			v.set("where", where)
			v.set("url", rawServer(t, func(w *wire) { w.stream(); w.send("data: a\n\n") }))
			_, err := v.run(`
				const source = new EventSource(url, { reconnectDelay: 1 });
				source[where] = () => { throw new Error('went wrong'); };`)
			require.ErrorContains(t, err, "went wrong")
			assert.EqualValues(t, stateClosed, v.eval(`var out = source.readyState;`))
			assert.Len(t, v.values(metrics.HTTPReqsName), 1)
		})
	}
}

func TestEventSourceNeedsAURL(t *testing.T) {
	t.Parallel()
	for _, arguments := range []string{"", "null", "'/path'", "':'", "'http://user:secret@host:x/'"} {
		v := newVU(t)
		_, err := v.run(`new EventSource(%s)`, arguments)
		require.ErrorContains(t, err, "SSEInvalidURLError: EventSource failed; reason: invalid URL: ")
		assert.NotContains(t, err.Error(), "secret")
	}
}
