package sse

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWrongArgumentsAreThrown(t *testing.T) {
	t.Parallel()
	const (
		openKeys = "body, connectTimeout, cookies, headers, idleTimeout, jar, maxEventSize, method, redirects, tags, throw, timeout"
		duration = `, allowed is a duration of 0 or more, 0 for no limit: milliseconds, or a string such as "15s"`
	)
	v := newVU(t)
	for script, want := range map[string]string{
		`sse.open()`:                               `sse.open() failed; reason: option "arguments": got 0, allowed is a URL, optional params, and a function`,
		`sse.open(1, 2, 3, 4)`:                     `option "arguments": got 4`,
		`sse.open(url, {})`:                        `option "setup": got an object, allowed is a function as the last argument`,
		`sse.open(url, {}, 'f')`:                   `option "setup": got "f", allowed is a function as the last argument`,
		`sse.open(url, 'p', f)`:                    `option "params": got "p", allowed is an object such as { headers: {} }`,
		`sse.open(url, 7, f)`:                      `option "params": got 7, allowed is an object`,
		`open(url, { time: '5s' }, f)`:             `option "time" does not exist, allowed are: ` + openKeys,
		`new EventSource(url, { x: 1})`:            `EventSource failed; reason: option "x" does not exist, allowed are: connectTimeout, cookies, headers, idleTimeout, jar, maxEventSize, reconnectDelay, redirects, tags, timeout, withCredentials`,
		`new EventSource(url, { method: 'POST' })`: `option "method" does not exist`,
		`open(url, { reconnectDelay: 1 }, f)`:      `option "reconnectDelay" does not exist`,

		`open(url, { timeout: 'soon' }, f)`:                 `option "timeout": got "soon"` + duration,
		`open(url, { timeout: -1 }, f)`:                     `option "timeout": got -1` + duration,
		`open(url, { timeout: '-1s' }, f)`:                  `option "timeout": got "-1s"` + duration,
		`open(url, { idleTimeout: NaN }, f)`:                `option "idleTimeout": got NaN` + duration,
		`open(url, { idleTimeout: Infinity }, f)`:           `option "idleTimeout": got Infinity` + duration,
		`open(url, { connectTimeout: 1e300 }, f)`:           `option "connectTimeout": got 1e+300` + duration,
		`open(url, { connectTimeout: '1e300' }, f)`:         `option "connectTimeout": got "1e300"` + duration,
		`open(url, { connectTimeout: true }, f)`:            `option "connectTimeout": got true` + duration,
		`open(url, { connectTimeout: {} }, f)`:              `option "connectTimeout": got an object` + duration,
		`open(url, { timeout: 'x'.repeat(1000) }, f)`:       `option "timeout": got "` + strings.Repeat("x", 64) + `"…`,
		`new EventSource(url, { reconnectDelay: 'never' })`: `option "reconnectDelay": got "never"` + duration,

		`open(url, { method: 1 }, f)`:          `option "method": got 1, allowed is the name of an HTTP method such as "GET"`,
		`open(url, { method: ' ' }, f)`:        `option "method": got " "`,
		`openAsync(url, f)`:                    `sse.openAsync() failed; reason: option "params": got a function, allowed is an object`,
		`openAsync(url, { throw: true })`:      `option "throw" does not exist`,
		`openAsync(url, { maxRetries: -1 })`:   `option "maxRetries": got -1, allowed is a whole number from 0 on`,
		`openAsync(url, { baseDelay: 'x' })`:   `option "baseDelay": got "x"`,
		`open(url, { headers: 'a: b' }, f)`:    `option "headers": got "a: b", allowed is an object of names and values`,
		`open(url, { headers: {'a b':1} }, f)`: `option "headers": got the name "a b"`,
		`open(url, { cookies: 1 }, f)`:         `option "cookies": got 1, allowed is an object of names and values`,
		`open(url, { jar: {} }, f)`:            `option "jar": got an object, allowed is an http.CookieJar`,
		`open(url, { redirects: -1 }, f)`:      `option "redirects": got -1, allowed is a whole number from 0 on`,
		`open(url, { redirects: 1.5 }, f)`:     `option "redirects": got 1.5`,
		`open(url, { tags: 'a' }, f)`:          `option "tags": got "a", allowed is an object of names and values`,
		`open(url, { tags: { a: {} } }, f)`:    `option "tags": got invalid value for metric tag 'a'`,
		`open(url, { throw: 'yes' }, f)`:       `option "throw": got "yes", allowed is true or false`,
		`open(url, { maxEventSize: 0 }, f)`:    `option "maxEventSize": got 0, allowed is a whole number of bytes from 1 to 1073741824`,
		`open(url, { maxEventSize: 1.5 }, f)`:  `option "maxEventSize": got 1.5`,
		`open(url, { maxEventSize: '1M' }, f)`: `option "maxEventSize": got "1M"`,
		`open(url, { maxEventSize: 1e12 }, f)`: `option "maxEventSize": got 1000000000000`,
	} {
		v.set("url", "http://127.0.0.1:1")
		_, err := v.run("{ const f = () => { throw new Error('called'); };\n%s }", script)
		require.ErrorContains(t, err, want, script)
		assert.ErrorContains(t, err, "SSEOptionError: ", script)
	}
	assert.Empty(t, v.values("http_reqs"))
}

func TestATokenIsNotRepeated(t *testing.T) {
	t.Parallel()
	v := newVU(t)
	_, err := v.run("sse.open('http://127.0.0.1:1', { headers: { Authorization: 'Bearer s3cret\\n' } }, () => {})")
	require.ErrorContains(t, err, `option "headers": got a value of "Authorization" with a control character, allowed is printable text`)
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
	require.ErrorContains(t, err, `SSEOptionError: client.on() failed; reason: option "handler": got nothing, allowed is a function`)
}

func TestWrongArgumentsRejectThePromise(t *testing.T) {
	t.Parallel()
	for call, want := range map[string]string{
		`sse.asyncOpen()`:                                   `option "arguments": got 0, allowed is a URL, optional params, and a function`,
		`sse.asyncOpen('http://127.0.0.1:1', 'f')`:          `option "setup": got "f", allowed is a function as the last argument`,
		`sse.asyncOpen('http://127.0.0.1:1', 7, f)`:         `option "params": got 7`,
		`asyncOpen('http://127.0.0.1:1', { x: f }, f)`:      `sse.asyncOpen() failed; reason: option "x" does not exist`,
		`asyncOpen('http://127.0.0.1:1', { method: 5 }, f)`: `option "method": got 5`,
	} {
		v := newVU(t)
		out := v.eval(`var out = 'nothing'; const f = () => {};
			const p = %s; p.catch((e) => { out = [p instanceof Promise, e instanceof Error, String(e)].join() }); out`, call)
		assert.Contains(t, out, "true,true,")
		assert.Contains(t, out, "SSEOptionError: ", call)
		assert.Contains(t, out, want, call)
	}
}

func TestNothingWorksInTheInitContext(t *testing.T) {
	t.Parallel()
	for call, name := range map[string]string{
		`sse.open('http://127.0.0.1:1', () => {})`: "sse.open()",
		`new EventSource('http://127.0.0.1:1')`:    "EventSource",
	} {
		_, err := newInitVU(t).run("%s", call)
		require.ErrorContains(t, err, name+" cannot be used in the init context")
	}
	out := newInitVU(t).eval(`var out; sse.asyncOpen('http://127.0.0.1:1', () => {}).catch((e) => { out = e.message }); out`)
	assert.Contains(t, out, "sse.asyncOpen() cannot be used in the init context")
}

func TestExports(t *testing.T) {
	t.Parallel()
	v := newInitVU(t)
	require.NoError(t, v.SetupModuleSystem(map[string]any{"k6/x/sse": New()}, nil, nil))
	out, err := v.run(`
		const m = require('k6/x/sse');
		[Object.keys(m).sort().join(), m.openAsync !== m.asyncOpen, m.default.open === m.open, m.__esModule].join(' ')`)
	require.NoError(t, err)
	assert.Equal(t, "EventSource,asyncOpen,open,openAsync true true true", out.Export())
}
