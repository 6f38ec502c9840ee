package sse

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWrongArgumentsAreThrown(t *testing.T) {
	t.Parallel()
	const (
		openKeys = "body, connectTimeout, cookies, headers, idleTimeout, jar, maxEventSize, method, redirects, tags, throw, timeout"
		duration = "expected a number of milliseconds or a string with a unit such as \"15s\", 0 for no limit"
	)
	v := newVU(t)
	for script, want := range map[string]string{
		`sse.open()`:                               "sse.open() failed; reason: got 0 arguments; expected a URL, optional params, and a function",
		`sse.open(1, 2, 3, 4)`:                     "got 4 arguments",
		`sse.open(url, {})`:                        "the last argument: got an object; expected a function",
		`sse.open(url, {}, 'f')`:                   `the last argument: got the string "f"; expected a function`,
		`sse.open(url, 'p', f)`:                    `params: got the string "p"; expected an object`,
		`sse.open(url, 7, f)`:                      "params: got the number 7; expected an object",
		`open(url, { time: '5s' }, f)`:             `unknown option "time", got the string "5s"; allowed are ` + openKeys,
		`asyncOpen(url, { x: [] }, f)`:             `sse.asyncOpen() failed; reason: unknown option "x", got an array; allowed are ` + openKeys,
		`openAsync(url, { x: f }, f)`:              `sse.asyncOpen() failed; reason: unknown option "x", got a function; allowed are ` + openKeys,
		`new EventSource(url, { x: 1})`:            `EventSource failed; reason: unknown option "x", got the number 1; allowed are connectTimeout, cookies, headers, idleTimeout, jar, maxEventSize, reconnectDelay, redirects, tags, timeout, withCredentials`,
		`new EventSource(url, { method: 'POST' })`: `unknown option "method"`,
		`open(url, { reconnectDelay: 1 }, f)`:      `unknown option "reconnectDelay"`,

		`open(url, { timeout: 'soon' }, f)`:                 `timeout: got the string "soon"; ` + duration,
		`open(url, { timeout: -1 }, f)`:                     "timeout: got the number -1; " + duration,
		`open(url, { timeout: '-1s' }, f)`:                  `timeout: got the string "-1s"; ` + duration,
		`open(url, { idleTimeout: NaN }, f)`:                "idleTimeout: got the number NaN; " + duration,
		`open(url, { idleTimeout: Infinity }, f)`:           "idleTimeout: got the number Infinity; " + duration,
		`open(url, { connectTimeout: 1e300 }, f)`:           "connectTimeout: got the number 1e+300; " + duration,
		`open(url, { connectTimeout: true }, f)`:            "connectTimeout: got the boolean true; " + duration,
		`open(url, { connectTimeout: {} }, f)`:              "connectTimeout: got an object; " + duration,
		`open(url, { timeout: 'x'.repeat(1000) }, f)`:       "timeout: got a string of 1000 bytes; ",
		`new EventSource(url, { reconnectDelay: 'never' })`: `reconnectDelay: got the string "never"; ` + duration,

		`open(url, { method: 1 }, f)`:          `method: got the number 1; expected the name of an HTTP method such as "GET"`,
		`open(url, { method: ' ' }, f)`:        `method: got the string " "`,
		`open(url, { body: {} }, f)`:           "body: got an object; expected a string, an ArrayBuffer or a Uint8Array",
		`open(url, { body: 5 }, f)`:            "body: got the number 5",
		`open(url, { headers: 'a: b' }, f)`:    `headers: got the string "a: b"; expected an object of names and values`,
		`open(url, { headers: {'a b':1} }, f)`: `headers: got the name "a b"`,
		`open(url, { cookies: 1 }, f)`:         "cookies: got the number 1; expected an object of names and values",
		`open(url, { jar: {} }, f)`:            "jar: got an object; expected an http.CookieJar",
		`open(url, { redirects: -1 }, f)`:      "redirects: got the number -1; expected a whole number from 0 on",
		`open(url, { redirects: 1.5 }, f)`:     "redirects: got the number 1.5",
		`open(url, { tags: 'a' }, f)`:          `tags: got the string "a"; expected an object of names and values`,
		`open(url, { tags: { a: {} } }, f)`:    "tags: invalid value for metric tag 'a'",
		`open(url, { throw: 'yes' }, f)`:       `throw: got the string "yes"; expected true or false`,
		`open(url, { maxEventSize: 0 }, f)`:    "maxEventSize: got the number 0; expected a whole number of bytes from 1 to 1073741824",
		`open(url, { maxEventSize: 1.5 }, f)`:  "maxEventSize: got the number 1.5",
		`open(url, { maxEventSize: '1M' }, f)`: `maxEventSize: got the string "1M"`,
		`open(url, { maxEventSize: 1e12 }, f)`: "maxEventSize: got the number 1000000000000",
	} {
		v.set("url", "http://127.0.0.1:1")
		_, err := v.run("{ const f = () => { throw new Error('called'); };\n%s }", script)
		require.ErrorContains(t, err, want, script)
		assert.ErrorContains(t, err, "OptionError: ", script)
	}
	assert.Empty(t, v.values("http_reqs"))
}

func TestATokenIsNotRepeated(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	_, err := v.run("sse.open('http://127.0.0.1:1', { headers: { Authorization: 'Bearer s3cret\\n' } }, () => {})")
	require.ErrorContains(t, err, `headers: the value of "Authorization" holds a control character; expected printable text`)
	assert.NotContains(t, err.Error(), "s3cret")

	v.set("url", unusedURL(t)+"/?token=s3cret")
	out := v.eval(`var out; sse.open(url, {}, (client) => client.on('error', (e) => { out = e.error(); }));
		sse.open(url, {}, () => {});`)
	assert.NotContains(t, out, "s3cret")
	assert.NotContains(t, v.logged(), "s3cret")
}

func TestOptionsOfHTTPAreIgnoredWithOneWarning(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) { w.head(http.StatusNoContent) }))
	v.eval(`
		const params = { auth: 'digest', compression: 'gzip', responseType: 'text', responseCallback: null };
		for (let i = 0; i < 3; i++) sse.open(url, params, (client) => client.on('close', () => {}));`)
	warnings := make([]string, 0, 5)
	for _, entry := range v.logs.AllEntries() {
		warnings = append(warnings, entry.Message)
	}
	assert.Equal(t, []string{
		`sse.open() ignores the option "auth" of k6/http`,
		`sse.open() ignores the option "compression" of k6/http`,
		`sse.open() ignores the option "responseType" of k6/http`,
		`sse.open() ignores the option "responseCallback" of k6/http`,
		`client.on(): there is no event "close", so its handler is never called; there are open, event and error`,
	}, warnings)
}

func TestHandlersMustBeFunctions(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	v.set("url", rawServer(t, func(w *wire) { w.stream() }))
	_, err := v.run(`sse.open(url, {}, (client) => client.on('event', undefined))`)
	require.ErrorContains(t, err, `OptionError: client.on() failed; reason: the handler of "event": got nothing; expected a function`)
}

func TestNothingWorksInTheInitContext(t *testing.T) {
	t.Parallel()
	for call, name := range map[string]string{
		`sse.open('http://127.0.0.1:1', () => {})`:      "sse.open()",
		`sse.asyncOpen('http://127.0.0.1:1', () => {})`: "sse.asyncOpen()",
		`new EventSource('http://127.0.0.1:1')`:         "EventSource",
	} {
		_, err := newInitVU(t).run("%s", call)
		require.ErrorContains(t, err, name+" cannot be used in the init context")
	}
}

func TestExports(t *testing.T) {
	t.Parallel()
	v := newInitVU(t)
	require.NoError(t, v.SetupModuleSystem(map[string]any{"k6/x/sse": New()}, nil, nil))
	out, err := v.run(`
		const m = require('k6/x/sse');
		[Object.keys(m).sort().join(), Object.keys(m.default).sort().join(), m.openAsync === m.asyncOpen, m.default.open === m.open].join(' ')`)
	require.NoError(t, err)
	assert.Equal(t, "EventSource,__esModule,asyncOpen,default,open,openAsync EventSource,asyncOpen,open,openAsync true true", out.Export())
}
