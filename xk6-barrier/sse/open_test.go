package sse

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/guregu/null.v3"

	"go.k6.io/k6/v2/metrics"
)

// bothOpens runs a test for open and for asyncOpen. The script is a call, whose name stands for %[1]s and whose result is
// awaited where that is needed.
func bothOpens(t *testing.T, test func(t *testing.T, call string)) {
	t.Helper()
	for _, call := range []string{"sse.open", "sse.asyncOpen"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			test(t, call)
		})
	}
}

func TestOrderOfCalls(t *testing.T) {
	t.Parallel()
	bothOpens(t, func(t *testing.T, call string) {
		v := newVU(t)
		v.set("url", rawServer(t, func(w *wire) {
			w.head(http.StatusOK, "Content-Type: text/event-stream;charset=UTF-8", "X-A: 1", "X-A: 2")
			w.send("id: 1\nevent: n\ndata: a\n\n", "data: b\n\n")
		}))
		out := v.eval(`
			var out = [];
			(async () => {
				const result = await %s(url + '/p?q=1', (client) => {
					out.push('setup ' + client.status + ' ' + client.headers['X-A'] + ' ' + (client.url === url + '/p?q=1'));
					client.on('open', () => out.push('open 1'));
					client.on('open', () => out.push('open 2'));
					client.on('event', (e) => out.push(['event', e.id, e.name, e.data, e.comment].join()));
					client.on('event', (e) => out.push('again ' + e.data));
					client.on('error', (e) => out.push(e.error()));
				});
				out.push(result.status, result.headers['X-A'], result.headers['Content-Type'], result.error,
					result.url === url + '/p?q=1');
			})();`, call)
		assert.Equal(t, []any{
			"setup 200 1, 2 true", "open 1", "open 2", "event,1,n,a,", "again a", "event,1,,b,", "again b",
			int64(200), "1, 2", "text/event-stream;charset=UTF-8", "", true,
		}, out)
	})
}

func TestCloseEndsTheConnectionBeforeItReturns(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"setup", "open", "event"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			gone := make(chan struct{})
			v.set("where", where)
			v.set("gone", func() {
				select {
				case <-gone:
				case <-time.After(farAway):
					t.Error("the server still saw a connection after client.close()")
				}
			})
			v.set("url", rawServer(t, func(w *wire) {
				w.stream()
				w.send(strings.Repeat("data: a\n\n", 10))
				w.hang()
				close(gone)
			}))
			out := v.eval(`
				var out = [];
				const result = sse.open(url, {}, (client) => {
					const close = () => { client.close(); gone(); client.close(); };
					client.on('open', () => { out.push('open'); if (where === 'open') close(); });
					client.on('event', (e) => { out.push(e.data); close(); });
					client.on('error', (e) => out.push(e.error()));
					if (where === 'setup') close();
				});
				out.push(result.status, result.error);`)
			want := map[string][]any{
				"setup": {"open", int64(200), ""},
				"open":  {"open", int64(200), ""},
				"event": {"open", "a", int64(200), ""},
			}
			assert.Equal(t, want[where], out)
		})
	}
}

func TestCloseFromATimerEndsAnAsyncStream(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) { w.stream(); w.hang() }))
	out := v.eval(`
		var out = [];
		sse.asyncOpen(url, { idleTimeout: 0 }, (client) => {
			client.on('open', () => setTimeout(() => client.close(), 10));
			client.on('error', (e) => out.push(e.error()));
		}).then((result) => out.push(result.status, result.error));`)
	assert.Equal(t, []any{int64(200), ""}, out)
}

func TestStatusAndContentType(t *testing.T) {
	t.Parallel()
	const body = "data: a\n\n"
	for name, test := range map[string]struct {
		status  int
		headers []string
		want    []any
	}{
		"a stream":              {200, []string{"Content-Type: text/event-stream"}, []any{"open", "a", 200, ""}},
		"upper case and params": {200, []string{"Content-Type: TEXT/Event-Stream; charset=utf-8"}, []any{"open", "a", 200, ""}},
		"broken params":         {200, []string{"Content-Type: text/event-stream; charset"}, []any{"open", "a", 200, ""}},
		"another type": {200, []string{"Content-Type: application/json"}, []any{
			"open", "SSEContentTypeError", 200, `sse.open() failed; reason: got Content-Type "application/json"; expected text/event-stream`,
		}},
		"no type": {200, nil, []any{
			"open", "SSEContentTypeError", 200, `sse.open() failed; reason: got Content-Type ""; expected text/event-stream`,
		}},
		"nothing":               {204, []string{"Content-Type: text/event-stream"}, []any{"open", 204, ""}},
		"another success":       {201, []string{"Content-Type: text/event-stream"}, []any{"open", 201, ""}},
		"a redirect to nowhere": {304, nil, []any{"open", 304, ""}},
		"already queued":        {409, []string{"Content-Type: text/plain"}, []any{"open", 409, ""}},
		"an error as a stream":  {500, []string{"Content-Type: text/event-stream"}, []any{"open", 500, ""}},
		"unavailable":           {503, []string{"Content-Type: text/html"}, []any{"open", 503, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			v.set("url", rawServer(t, func(w *wire) {
				w.head(test.status, test.headers...)
				w.send(body)
			}))
			out := v.eval(`
				var out = [];
				const result = sse.open(url, {}, (client) => {
					client.on('open', () => out.push('open'));
					client.on('event', (e) => out.push(e.data));
					client.on('error', (e) => out.push(e.name));
				});
				out.push(Number(result.status), result.error);`)
			for i, value := range test.want {
				if n, ok := value.(int); ok {
					test.want[i] = int64(n)
				}
			}
			assert.Equal(t, test.want, out)
		})
	}
}

func TestAnEndlessErrorBodyIsCutOff(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(*wire){
		"silent": func(w *wire) { w.send("x"); w.hang() },
		"large": func(w *wire) {
			for w.send(strings.Repeat("x", 10_000)) {
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			v.set("url", rawServer(t, func(w *wire) {
				w.head(http.StatusInternalServerError, "Content-Type: text/plain")
				serve(w)
			}))
			out := v.eval(`var out = sse.open(url, {}, (client) => client.on('error', (e) => { throw e; })).status;`)
			assert.EqualValues(t, 500, out)
		})
	}
}

func TestExceptionsPropagateAndCloseTheStream(t *testing.T) {
	t.Parallel()
	bothOpens(t, func(t *testing.T, call string) {
		for _, where := range []string{"setup", "open", "event", "error"} {
			v := newVU(t)
			gone := make(chan struct{}, 1)
			v.set("where", where)
			v.set("url", rawServer(t, func(w *wire) {
				w.stream()
				w.send("data: a\n\ndata: b\n\n")
				if where == "error" {
					w.reset()
				} else {
					w.hang()
				}
				gone <- struct{}{}
			}))
			out := v.eval(`
				var out = [];
				(async () => {
					try {
						await %s(url, {}, (client) => {
							const boom = (place) => () => {
								out.push(place);
								if (place === where) throw new RangeError(place + ' went wrong');
							};
							client.on('open', boom('open'));
							client.on('event', boom('event'));
							client.on('error', boom('error'));
							boom('setup')();
						});
						out.push('returned');
					} catch (e) {
						out.push(e instanceof RangeError, e.message);
					}
				})();`, call).([]any) //nolint:forcetypeassert // it is one
			<-gone
			require.GreaterOrEqual(t, len(out), 3, where)
			assert.Equal(t, []any{where, true, where + " went wrong"}, out[len(out)-3:], where)
			assert.Len(t, v.values(metrics.HTTPReqsName), 1, "the request is recorded all the same")
		}
	})
}

func TestAnInterruptionPassesThrough(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("interrupt", func() { v.VU.Runtime().Interrupt("test.abort") })
	v.set("url", rawServer(t, func(w *wire) { w.stream(); w.send("data: a\n\n"); w.hang() }))
	_, err := v.run(`
		var out = [];
		try { sse.open(url, {}, (client) => client.on('event', () => { interrupt(); for (;;) {} })); } finally { out.push('no'); }`)
	require.ErrorContains(t, err, "test.abort")
}

func TestThrow(t *testing.T) {
	t.Parallel()
	bothOpens(t, func(t *testing.T, call string) {
		for _, byOption := range []bool{true, false} {
			v := newVU(t)
			v.state.Options.Throw = null.BoolFrom(!byOption)
			v.set("url", unusedURL(t))
			out := v.eval(`
				var out = [];
				(async () => {
					try {
						await %s(url, %s, (client) => client.on('error', (e) => out.push(e.name)));
					} catch (e) {
						out.push(e.name, e.errorCode, e instanceof Error, String(e).startsWith('SSEConnectError: ' + e.message));
					}
				})();`, call, map[bool]string{true: "{ throw: true }", false: "{}"}[byOption])
			assert.Equal(t, []any{"SSEConnectError", "SSEConnectError", int64(1212), true, true}, out)
			assert.Empty(t, v.logged())
		}
		v := newVU(t)
		v.state.Options.Throw = null.BoolFrom(true)
		v.set("url", unusedURL(t))
		assert.EqualValues(t, 0, v.eval(`
			var out;
			(async () => { out = (await %s(url, { throw: false }, () => {})).status; })();`, call))
		assert.Contains(t, v.logged(), "connection refused", "nobody else would learn of it")
	})
}

func TestRequestOptions(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", httpServer(t, func(res http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		res.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprintf(res, "data: %s %s %s\n\n", req.Method, req.Host, body)
		for _, name := range []string{"Accept", "User-Agent", "X-One", "X-Many", "X-None"} {
			_, _ = fmt.Fprintf(res, "data: %s\n\n", strings.Join(req.Header.Values(name), "|"))
		}
	}))
	out := v.eval(`
		var out = [];
		const listen = (client) => client.on('event', (e) => out.push(e.data));
		sse.open(url, { method: ' post ', body: 'text', headers: { host: 'a.example', 'X-One': 1, 'x-many': ['a', 'b'], 'X-None': null } }, listen);
		sse.open(url, { method: 'PUT', body: new Uint8Array([111, 107]), headers: { Accept: 'a/b', 'user-agent': 'c', Host: 'b.example' } }, listen);
		sse.open(url, { method: 'PUT', body: new Uint8Array([111, 107]).buffer, headers: { host: 'c.example' } }, listen);
		sse.open(url, { method: null, body: undefined, headers: undefined, timeout: null, jar: null, tags: null }, listen);`)
	require.Len(t, out, 24)
	got := out.([]any) //nolint:forcetypeassert // it is one
	assert.Equal(t, []any{"POST a.example text", "text/event-stream", "a user agent", "1", "a|b", ""}, got[:6])
	assert.Equal(t, []any{"PUT b.example ok", "a/b", "c"}, got[6:9])
	assert.Equal(t, "PUT c.example ok", got[12])
	assert.Contains(t, got[18], "GET 127.0.0.1:")
}

func TestRedirectsAndCookies(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", httpServer(t, func(res http.ResponseWriter, req *http.Request) {
		names := make([]string, 0, 4)
		for _, cookie := range req.Cookies() {
			names = append(names, cookie.Name+"="+cookie.Value)
		}
		switch req.URL.Path {
		case "/start":
			http.SetCookie(res, &http.Cookie{Name: "hop", Value: "1", Path: "/"})
			http.Redirect(res, req, "/stream?x=1", http.StatusFound)
		case "/loop":
			http.Redirect(res, req, "/loop", http.StatusFound)
		default:
			http.SetCookie(res, &http.Cookie{Name: "end", Value: "2", Path: "/"})
			res.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprintf(res, "data: %s\n\n", strings.Join(names, ","))
		}
	}))
	out := v.eval(`
		var out = [];
		const listen = (client) => client.on('event', (e) => out.push(e.data));
		http.cookieJar().set(url, 'vu', '0');
		let result = sse.open(url + '/start', { cookies: { once: '3' } }, listen);
		out.push(result.status, result.url === url + '/stream?x=1');
		result = sse.open(url + '/stream', { cookies: { vu: { value: '9', replace: true }, none: null } }, listen);
		const own = new http.CookieJar();
		own.set(url, 'own', '4');
		sse.open(url + '/stream', { jar: own }, listen);
		const names = (jar) => Object.keys(jar.cookiesForURL(url)).sort().join();
		out.push(names(own), names(http.cookieJar()));
		out.push(sse.open(url + '/start', { redirects: 0 }, listen).status);
		out.push(sse.open(url + '/loop', { redirects: 3 }, listen).status);`)
	assert.Equal(t, []any{
		"once=3,vu=0,hop=1", int64(200), true, "vu=9,hop=1,end=2", "own=4",
		"end,own", "end,hop,vu", int64(302), int64(302),
	}, out)
	statuses := make(map[string]int)
	for _, sample := range v.find(metrics.HTTPReqsName) {
		status, _ := sample.Tags.Get("status")
		statuses[status]++
	}
	assert.Equal(t, map[string]int{"200": 3, "302": 1 + 1 + 4}, statuses)
	assert.Empty(t, v.logged())

	v.state.Options.MaxRedirects = null.NewInt(1, false)
	v.eval(`sse.open(url + '/loop', {}, () => {});`)
	assert.Contains(t, v.logged(), "stopped after 2 redirects")
}

func TestContentEncodings(t *testing.T) {
	t.Parallel()
	type flusher interface {
		io.WriteCloser
		Flush() error
	}
	encoders := map[string]func(io.Writer) flusher{
		"gzip":        func(w io.Writer) flusher { return gzip.NewWriter(w) },
		"deflate":     func(w io.Writer) flusher { return zlib.NewWriter(w) },
		"raw deflate": func(w io.Writer) flusher { f, _ := flate.NewWriter(w, flate.BestSpeed); return f },
	}
	for name, encode := range encoders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			got := make(chan struct{})
			v.set("got", func() { got <- struct{}{} })
			v.set("url", rawServer(t, func(w *wire) {
				w.head(http.StatusOK, "Content-Type: text/event-stream", "Content-Encoding: "+strings.TrimPrefix(name, "raw "))
				encoder := encode(w.conn)
				for i := range 3 { // each event must come through although the stream goes on
					_, _ = fmt.Fprintf(encoder, "data: %d\n\n", i)
					_ = encoder.Flush()
					<-got
				}
				_ = encoder.Close()
			}))
			out := v.eval(`
				var out = [];
				const result = sse.open(url, {}, (client) => client.on('event', (e) => { out.push(e.data); got(); }));
				out.push(result.error);`)
			assert.Equal(t, []any{"0", "1", "2", ""}, out)
		})
	}

	var twice bytes.Buffer
	outer := gzip.NewWriter(&twice)
	inner := zlib.NewWriter(outer)
	_, _ = io.WriteString(inner, "data: a\n\n")
	_ = inner.Close()
	_ = outer.Close()
	for name, test := range map[string]struct{ encoding, body, want string }{
		"identity":    {"identity", "data: a\n\n", "a"},
		"two":         {"deflate, gzip", twice.String(), "a"},
		"unknown":     {"br", "data: a\n\n", `SSEDecodingError: sse.open() failed; reason: error decompressing response body: got Content-Encoding "br"; allowed are gzip, deflate and identity, at most 3 at once`},
		"too many":    {"gzip, gzip, gzip, gzip", "", `SSEDecodingError: sse.open() failed; reason: error decompressing response body: got Content-Encoding "gzip, gzip, gzip, gzip"; allowed`},
		"no gzip":     {"gzip", "data: this is not compressed\n\n", "SSEDecodingError: sse.open() failed; reason: error decompressing response body: gzip: invalid header"},
		"broken gzip": {"gzip", twice.String()[:10] + "\x07" + strings.Repeat("x", 50), "SSEDecodingError: "},
		"empty":       {"gzip", "", ""},
		"cut off":     {"deflate", "x", "SSEConnectionError: sse.open() failed; reason: the connection was lost: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			v.set("url", rawServer(t, func(w *wire) {
				w.head(http.StatusOK, "Content-Type: text/event-stream", "Content-Encoding: "+test.encoding)
				w.send(test.body)
			}))
			out := v.eval(`
				var out = '';
				sse.open(url, {}, (client) => {
					client.on('event', (e) => { out += e.data; });
					client.on('error', (e) => { out += e; });
				});`).(string) //nolint:forcetypeassert // it is one
			if test.want == "" {
				assert.Empty(t, out)
			}
			assert.True(t, strings.HasPrefix(out, test.want), out)
		})
	}
}
