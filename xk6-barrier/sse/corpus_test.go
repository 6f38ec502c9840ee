package sse

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The rows of the page on scripts for another SSE module that a difference may be explained by.
const (
	rowID      = "| `id` |"
	rowLines   = "| lines that end in CR or CRLF |"
	rowUnknown = "| a line of an unknown field, or of a field without a colon |"
	rowEmpty   = "| empty blocks |"
	rowData    = "| empty `data` lines |"
	rowBOM     = "| a byte order mark |"
	rowText    = "| text that is not UTF-8 |"
)

// elsewhere are the streams of the grammar that the older module reads otherwise, and the row that says so.
var elsewhere = map[string]string{ //nolint:gochecknoglobals // a constant that Go has no constant form for
	"carriage returns and line feeds":          rowLines,
	"carriage returns alone":                   rowLines,
	"all line ends mixed":                      rowLines,
	"a block that ends with a carriage return": rowLines,
	"a field without a colon":                  rowUnknown,
	"two empty values":                         rowUnknown,
	"unknown fields":                           rowUnknown,
	"trailing empty values stay":               rowData,
	"a byte order mark":                        rowBOM,
	"only one byte order mark":                 rowBOM,
	"half a byte order mark":                   rowBOM,
	"nothing but a byte order mark":            "",
	"empty lines":                              rowEmpty,
	"a retry without data":                     rowEmpty,
	"an id lasts":                              rowID,
	"an empty id resets":                       rowID,
	"an id with NUL is ignored":                rowID,
	"an id with NUL without data":              rowID,
	"an id without data":                       rowID,
	"a comment block carries the id":           rowID,
	"malformed text":                           rowText,
	"the stocks of the standard":               rowUnknown,
}

// older reads a stream as github.com/phymbert/xk6-sse 0.1.12 does: by line feeds alone, without a memory from one block to the
// next, with an event for each empty line and an error for each line that it does not know.
func older(stream string) (events []event, unknown int) {
	var block event
	var data strings.Builder
	lines := strings.SplitAfter(stream, "\n")
	for _, line := range lines[:len(lines)-1] {
		field, value, known := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		text := strings.TrimSuffix(value, "\n")
		switch {
		case line == "\n" || line == "\r\n":
			block.data = strings.TrimRight(data.String(), "\r\n")
			events = append(events, block)
			block = event{}
			data.Reset()
		case known && field == "id":
			block.id = text
		case known && field == "event":
			block.name = text
		case known && field == "data":
			data.WriteString(value)
		case known && field == "":
			block.comment = text
		case known && field == "retry":
		default:
			unknown++
		}
	}
	return events, unknown
}

func TestEachDifferenceToTheOlderModuleIsExplained(t *testing.T) {
	t.Parallel()
	page := readText(t, "../../docs/how-to/bring-sse-scripts.md")
	names := map[string]bool{}
	for _, test := range grammar {
		names[test.name] = true
		there, unknown := older(test.stream)
		here := make([]event, len(test.events))
		for at, ev := range test.events {
			ev.hasData = false
			here[at] = ev
		}
		row, listed := elsewhere[test.name]
		same := unknown == 0 && fmt.Sprint(here) == fmt.Sprint(there)
		assert.Equal(t, same, row == "", "%s: here %q, there %q and %d errors, explained by %q", test.name, here, there, unknown, row)
		if listed {
			assert.True(t, strings.Contains(page, row), "%s: the page has no row %s", test.name, row)
		}
	}
	for name := range elsewhere {
		assert.True(t, names[name], name)
	}
}

// Scripts for the older module and what they come to there, and so here; the rows of the page tell the exceptions.
func TestScriptsOfTheOlderModule(t *testing.T) {
	t.Parallel()
	base := rawServer(t, func(w *wire) {
		switch w.req.URL.Path {
		case "/done":
			w.stream()
			w.send("data: a\n\n", "event: done\n\n")
			w.hang()
		case "/ids":
			w.stream()
			w.send("id: 4\n\n")
			w.hang()
		case "/body":
			w.stream()
			body := make([]byte, w.req.ContentLength)
			_, err := w.req.Body.Read(body)
			if err != nil && w.req.ContentLength > 0 {
				assert.ErrorContains(t, err, "EOF")
			}
			w.send("data: " + string(body) + "\n\n")
		case "/few":
			w.stream()
			w.send(": beat\n\n", "event: a\ndata: 1\n\n", ": beat\n\n", "event: b\ndata: 2\n\n", "event: a\ndata: 3\n\n")
		default:
			w.head(http.StatusServiceUnavailable)
		}
	})
	for name, test := range map[string]struct {
		script string
		want   any
	}{
		"a name without data": {
			`const r = sse.open(url + '/done', (client) => client.on('event', (e) => { out.push(e.name, e.data); if (e.name === 'done') client.close() }));
				out.push(r.status, r.error)`,
			[]any{"", "a", "done", "", int64(200), ""},
		},
		"an id without data": {
			`sse.open(url + '/ids', (client) => client.on('event', (e) => { if (parseInt(e.id) === 4) { out.push('four'); client.close() } }))`,
			[]any{"four"},
		},
		"bodies that are no strings": {
			`for (const body of [7, 1.5, true, { a: 1 }, ['x', 2], null, undefined, 'text']) {
				sse.open(url + '/body', { method: 'POST', body }, (client) => client.on('event', (e) => out.push(e.data)))
			}`,
			[]any{"7", "1.5", "true", "[object Object]", "x,2", "", "", "text"},
		},
		"poll": {
			`const c = sse.openAsync(url + '/few', { headers: { A: 'b' } }); const all = [];
				out.push(c.waitForEvent((e) => e.name === 'b', 5000).data);
				while (all.length < 1) all.push(...c.pollEvents());
				out.push(all[0].data, c.getStatus(), Array.isArray(c.pollEvents()));
				try { c.waitForEvent() } catch (e) { out.push(e.error().includes('the stream has ended')) }
				out.push(c.isOpen(), c.getError()); c.close(); c.close(); out.push(c.pollEvents().length)`,
			[]any{"2", "3", int64(200), true, true, false, nil, int64(0)},
		},
		"wait with a promise": {
			`(async () => { const c = sse.openAsync(url + '/done');
				out.push((await c.waitForEventAsync()).data, (await c.waitForEventAsync((e) => e.name === 'done', '5s')).name);
				try { await c.waitForEventAsync(null, 10) } catch (e) { out.push(e.name.endsWith('TimeoutError'), c.isOpen()) }
				c.close();
				try { await c.waitForEventAsync() } catch (e) { out.push(e.message) } })()`,
			[]any{"a", "done", true, true, "client.waitForEventAsync() failed; reason: the client is closed"},
		},
		"a time-out of a wait": {
			`const c = sse.openAsync(url + '/done');
				try { c.waitForEvent((e) => e.name === 'never', 20) } catch (e) { out.push(e.message) }
				try { c.waitForEvent(7) } catch (e) { out.push(e.option) }
				try { c.waitForEvent(null, 'x') } catch (e) { out.push(e.option) }
				c.close()`,
			[]any{"client.waitForEvent() failed; reason: no such event was received within 20ms (timeout)", "predicate", "timeout"},
		},
		"a status other than 200": {
			`const c = sse.openAsync(url + '/503', { maxRetries: 2, baseDelay: 1 });
				try { c.waitForEvent() } catch (e) { out.push(e.message) }
				out.push(c.getStatus(), c.isOpen(), c.getError().error() === c.getError().message)`,
			[]any{"sse.openAsync() failed; reason: got the status 503; expected 200", int64(503), false, true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVU(t)
			v.cancellable()
			v.set("url", base)
			assert.Equal(t, test.want, v.eval("var out = []; %s; out", test.script))
			if name == "a status other than 200" {
				assert.Len(t, v.values("http_reqs"), 3, "the retries")
			}
		})
	}
}

func TestPollClientEndsWithItsIteration(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	cancel := v.cancellable()
	gone := make(chan struct{})
	v.set("url", rawServer(t, func(w *wire) { w.stream(); w.send("data: a\n\n"); w.hang(); close(gone) }))
	v.set("cancel", func() { cancel() })
	assert.Equal(t, "a", v.eval(`const c = sse.openAsync(url); var out = c.waitForEvent().data; out`))
	_, err := v.run(`var went = false; try { cancel(); c.waitForEvent(); went = true } catch { went = true }`)
	require.Error(t, err)
	<-gone
	assert.Equal(t, "false", v.eval(`out = String(went)`))
}

func TestPollClientLetsTheServerWait(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.cancellable()
	const sent = 3 * heldEvents
	v.set("url", rawServer(t, func(w *wire) {
		w.stream()
		for at := range sent {
			w.send(fmt.Sprintf("data: %d\n\n", at))
		}
	}))
	assert.Equal(t, int64(sent-1), v.eval(`const c = sse.openAsync(url); let last = -1;
		for (let at = 0; at < %d; at++) { const got = Number(c.waitForEvent().data); if (got !== last + 1) throw new Error('lost'); last = got }
		c.close(); var out = last; out`, sent))
}
