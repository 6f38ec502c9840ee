package sse

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestObjectsOfAStreamAreOrdinary(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) { w.stream(); w.send("event: e\ndata: d\n\n"); w.hang() }))
	out := v.eval(`var out = [], got, result = sse.open(url, (client) => {
		client.label = 'mine';
		client.count = 0;
		client.on('event', (event) => {
			client.count++;
			got = Object.freeze(event);
			const { close } = client;
			client.close = function () { out.push('overridden'); return close.call(this) };
			client.close();
		});
		out.push(client.label, Object.keys(client).join(), typeof client.on, 'url' in client, JSON.stringify(client));
		this.kept = client;
	}); Object.freeze(result); out.push(kept.count, kept.status, Object.isFrozen(result), Object.keys(got).join(),
		Object.keys(result).join(), { ...result }.status); out`)
	assert.Equal(t, []any{
		"mine", "label,count", "function", true, `{"label":"mine","count":0}`, "overridden", int64(1), int64(200), true,
		"id,comment,name,data", "url,status,headers,error,body", int64(200),
	}, out)
	for _, name := range []string{"got", "result"} {
		_, ok := v.VU.Runtime().Get(name).Export().(map[string]any)
		require.True(t, ok, "as k6 takes out a form body and the result of setup()")
	}
}

func TestEventSourceIsAClass(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) { w.stream(); w.send("data: d\n\n"); w.hang() }))
	assert.Equal(t, []any{
		"mine d", true, true, true, "OPEN 1", "closing", int64(2), "function close", "label",
	}, v.eval(`var out = [];
		class Mine extends EventSource {
			label = 'mine';
			close() { out.push('closing'); super.close(); }
			get readyState() { return super.readyState; }
		}
		const s = new Mine(url);
		s.onmessage = (event) => {
			out.push(s.label + ' ' + event.data, s instanceof EventSource, s.constructor === Mine, event.target === s,
				'OPEN ' + s.readyState);
			s.close();
			out.push(s.readyState, typeof EventSource.prototype.close + ' ' + EventSource.prototype.close.name, Object.keys(s).join());
		};
		out`))
}
