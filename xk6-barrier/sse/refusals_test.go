package sse

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"go.k6.io/k6/v2/metrics"
)

func zipped(t *testing.T, text string) string {
	t.Helper()
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, err := io.WriteString(writer, text)
	assert.NoError(t, err)
	assert.NoError(t, writer.Close())
	return packed.String()
}

// late is a compressed text behind more empty blocks than are read.
func late(t *testing.T) string {
	t.Helper()
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	for packed.Len() <= drainBytes {
		assert.NoError(t, writer.Flush())
	}
	_, err := io.WriteString(writer, "too late")
	assert.NoError(t, err)
	assert.NoError(t, writer.Close())
	return packed.String()
}

func TestWhatARefusalSaysIsToldInShort(t *testing.T) {
	t.Parallel()
	const asText, asStream = "Content-Type: text/plain", "Content-Type: text/event-stream"
	const most = 8 << 10
	for name, test := range map[string]struct {
		status  int
		headers []string
		serve   func(*wire)
		want    string
	}{
		"a reason":             {401, []string{asText}, func(w *wire) { w.send("the access token has expired") }, "the access token has expired"},
		"called a stream":      {409, []string{asStream}, func(w *wire) { w.send("data: in the queue already\n\n") }, "data: in the queue already\n\n"},
		"another type":         {200, []string{"Content-Type: text/html"}, func(w *wire) { w.send("<p>Log in</p>") }, "<p>Log in</p>"},
		"nothing":              {503, []string{asText}, func(*wire) {}, ""},
		"a stream":             {200, []string{asStream}, func(w *wire) { w.send("data: a\n\n") }, ""},
		"a long page":          {500, []string{asText}, func(w *wire) { w.send(strings.Repeat("x", 2*most)) }, strings.Repeat("x", most)},
		"cut in a letter":      {500, []string{asText}, func(w *wire) { w.send("x" + strings.Repeat("é", most)) }, "x" + strings.Repeat("é", most/2-1)},
		"no text":              {500, []string{asText}, func(w *wire) { w.send("a\xff\xfeb") }, "a\uFFFDb"},
		"compressed":           {503, []string{asText, "Content-Encoding: gzip"}, func(w *wire) { w.send(zipped(t, "come back later")) }, "come back later"},
		"a compressed bomb":    {503, []string{asText, "Content-Encoding: gzip"}, func(w *wire) { w.send(zipped(t, strings.Repeat("x", 1<<20))) }, strings.Repeat("x", most)},
		"behind much nothing":  {503, []string{asText, "Content-Encoding: gzip"}, func(w *wire) { w.send(late(t)) }, ""},
		"not what it is named": {503, []string{asText, "Content-Encoding: br"}, func(w *wire) { w.send("?") }, ""},
		"never whole":          {503, []string{asText}, func(w *wire) { w.send("the first word"); w.hang() }, "the first word"},
		"cut off":              {503, []string{asText, "Content-Length: 100"}, func(w *wire) { w.send("half of it") }, "half of it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothOpens(t, func(t *testing.T, call string) {
				v := newVU(t)
				v.set("url", rawServer(t, func(w *wire) {
					w.head(test.status, test.headers...)
					test.serve(w)
				}))
				out := v.eval(`
					var out = [];
					(async () => {
						const result = await %s(url, (client) => client.on('error', (e) => out.push(e.name, e.body)));
						out.push(result.status, result.body);
					})();`, call)
				want := []any{int64(test.status), test.want}
				if test.status == http.StatusOK && test.want != "" {
					want = append([]any{"SSEContentTypeError", test.want}, want...)
				}
				assert.Equal(t, want, out)
			})
		})
	}
}

func TestErrorsTellWhatARefusalSays(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) {
		w.head(http.StatusForbidden, "Content-Type: application/json")
		w.send(`{"why":"no such role"}`)
	}))
	v.set("nowhere", unusedURL(t))
	out := v.eval(`
		var out = [];
		const client = openAsync(url);
		try { client.waitForEvent(); } catch (e) { out.push(e.name, e.body, client.getError().body, Object.keys(e).includes('body')); }
		const lost = openAsync(nowhere);
		try { lost.waitForEvent(); } catch (e) { out.push(e.name, 'body' in e); }
		const source = new EventSource(url);
		source.onerror = ({ error }) => out.push(error.name, error.body);`)
	assert.Equal(t, []any{
		"SSEStatusError", `{"why":"no such role"}`, `{"why":"no such role"}`, false, "SSEConnectError", false,
		"SSEStatusError", `{"why":"no such role"}`,
	}, out)
	assert.NotContains(t, v.logged(), "no such role", "it may repeat a secret")
}

func TestARefusalLeavesItsConnectionToTheNext(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	var connections sync.Map
	v.set("url", httpServer(t, func(res http.ResponseWriter, req *http.Request) {
		connections.Store(req.RemoteAddr, true)
		res.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(res, strings.Repeat("x", drainBytes-1))
	}))
	v.eval(`for (let i = 0; i < 3; i++) { sse.open(url, () => {}); }`)
	seen := 0
	connections.Range(func(any, any) bool { seen++; return true })
	assert.Equal(t, 1, seen)
	assert.Len(t, v.values(metrics.HTTPReqsName), 3)
}
