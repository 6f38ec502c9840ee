package sse

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/objecttest"
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

func TestEventsAndResultsArePlainData(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) { w.stream(); w.send("event: e\ndata: d\n\n"); w.hang() }))
	v.eval(`%s`, objecttest.Copies)
	for _, line := range objecttest.DataLines {
		v.eval(`var event, result = sse.open(url, (client) => client.on('event', (e) => { event = e; client.close() }))`)
		for _, name := range []string{"event", "result"} {
			want := v.eval("var other = plain(%s), out = %s", name, objecttest.EvaluatedOn(line, "other"))
			assert.Equal(t, want, v.eval("out = %s", objecttest.EvaluatedOn(line, name)), "%s: %s", name, line)
		}
	}
}

func TestEventSourceCanBeUsedAsAClassOfItsOwn(t *testing.T) {
	t.Parallel()
	methods := objecttest.Methods{
		Call: "close", Other: "addEventListener", Third: "removeEventListener", Async: "more", AsyncOther: "addEventListener",
		// As the standard has it.
		Listed: `'url', 'withCredentials', 'readyState', 'lastEventId', 'onopen', 'onmessage', 'onerror', 'CLOSED', 'CONNECTING', 'OPEN'`,
	}
	for _, line := range methods.Lines() {
		evaluate := func(prelude string) any {
			v := newVU(t)
			v.set("url", rawServer(t, func(w *wire) { w.stream(); w.hang() }))
			return v.eval("%s; var out = %s; made.forEach((one) => close.call(one))", prelude, objecttest.Evaluated(line))
		}
		want := evaluate(methods.Plain("EventSource") + "; const made = [], close = null")
		ours := evaluate(`const C = EventSource, made = [], { close } = C.prototype;
			const make = (Class) => { const one = new Class(url); made.push(one); return one };`)
		assert.Equal(t, want, ours, line)
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
