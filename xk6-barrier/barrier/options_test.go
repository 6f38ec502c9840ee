package barrier

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.k6.io/k6/v2/lib"
)

// One bad value of every option and argument of every class, with the whole text that a user reads.
func TestBadOptions(t *testing.T) {
	t.Parallel()
	const (
		duration  = `a duration above 0: milliseconds, or a string such as "30s" or "5m"`
		ids       = `a string of 1 to 128 bytes or a whole number from 0 to 2^53 - 1`
		names     = `1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'`
		release   = `a number of arrivals such as 90, or a whole percentage such as "90%", or an object such as { spread: "2s" }`
		redisURLs = `redis[s][+cluster]://[[user]:password@]host[:port][/database]`
		pemText   = `PEM text, as open() reads it from a file`
		certs     = `the PEM text of one or more certificates, as open() reads it from a file`
		secure    = `with rediss:// and rediss+cluster:// alone`
		reason    = `a string such as 'login': a lower-case letter, then up to 31 of a-z, 0-9, - and _`
		interval  = `a duration of at least 10 ms: milliseconds, or a string such as "250ms"`
	)
	barrier := func(options string) string { return `new Barrier('x', { parties: 2, ` + options + ` })` }
	counter := func(options string) string {
		return `new QueueCounter({ redis: 'redis://localhost', ` + options + ` })`
	}
	tests := []struct{ code, option, got, allowed string }{
		{`new Barrier()`, "name", "nothing", "a string"},
		{`new Barrier(7, { parties: 1 })`, "name", "7", "a string"},
		{`new Barrier('a b', { parties: 1 })`, "name", `"a b"`, names},
		{`new Barrier('', { parties: 1 })`, "name", `""`, names},
		{`new Barrier('x')`, "parties", "nothing", allowedParties},
		{`new Barrier('x', 5)`, "options", "5", `an object such as { parties: 10 }`},
		{`new Barrier('x', [5])`, "options", "an array", `an object such as { parties: 10 }`},
		{`new Barrier('x', { parties: 1.5 })`, "parties", "1.5", allowedParties},
		{`new Barrier('x', { parties: '5' })`, "parties", `"5"`, allowedParties},
		{`new Barrier('x', { parties: NaN })`, "parties", "NaN", allowedParties},
		{`new Barrier('x', { parties: 0 })`, "parties", "0", "an integer from 1 to 10000000"},
		{`new Barrier('x', { parties: 10000001 })`, "parties", "10000001", "an integer from 1 to 10000000"},
		{barrier(`store: 5`), "store", "5", "a string"},
		{barrier(`store: ''`), "store", `""`, "a string that is not empty"},
		{barrier(`store: 'disk'`), "store", `"disk"`, `'memory' or ` + redisURLs},
		{barrier(`store: 'http://localhost'`), "store", "http://localhost/", redisURLs},
		{barrier(`store: 'redis://localhost/x'`), "store", "redis://localhost/x", redisURLs},
		{barrier(`store: 'redis://u:p@a,b'`), "store", "redis://u:***@a,b", redisURLs + "; several hosts only with redis[s]+cluster://"},
		{barrier(`store: 'rediss+cluster://u:p@a:1,b:2/1'`), "store", "rediss+cluster://u:***@a:1,b:2/1", redisURLs + "; a cluster has database 0 alone"},
		{barrier(`tls: 'ca.pem'`), "tls", `"ca.pem"`, `an object such as { ca: open('ca.pem') }`},
		{barrier(`tls: {}`), "tls", "options for TLS with the memory store", secure},
		{barrier(`store: 'redis://u:p@localhost', tls: {}`), "tls", "options for TLS with redis://u:***@localhost", secure},
		{barrier(`store: 'rediss://localhost', tls: { ca: 5 }`), "tls.ca", "5", pemText},
		{barrier(`store: 'rediss://localhost', tls: { ca: '' }`), "tls.ca", "an empty string", pemText},
		{barrier(`store: 'rediss://localhost', tls: { ca: 'ca.pem' }`), "tls.ca", "a text without a certificate", certs},
		{barrier(`store: 'rediss://localhost', tls: { cert: ['x'], key: 'x' }`), "tls.cert", "an array", pemText},
		{barrier(`store: 'rediss://localhost', tls: { cert: 'x', key: 'x' }`), "tls.cert", "a text without a certificate", certs},
		{barrier(`store: 'rediss://localhost', tls: { cert: 'x' }`), "tls.key", "nothing", "the private key of tls.cert"},
		{barrier(`store: 'rediss://localhost', tls: { key: 'x' }`), "tls.cert", "nothing", "the certificate of tls.key"},
		{barrier(`store: 'rediss://localhost', tls: { serverName: 'a b' }`), "tls.serverName", `"a b"`, "a host name or an IP address"},
		{barrier(`store: 'rediss://localhost', tls: { serverName: '' }`), "tls.serverName", `""`, "a string that is not empty"},
		{barrier(`runId: 5`), "runId", "5", "a string"},
		{barrier(`runId: 'a/b'`), "runId", `"a/b"`, names},
		{barrier(`reasons: 'login'`), "reasons", `"login"`, "an array of strings"},
		{barrier(`reasons: ['ok', 5]`), "reasons[1]", "5", "a string"},
		{barrier(`reasons: ['Login']`), "reasons", `"Login"`, "a lower-case letter, then up to 31 of a-z, 0-9, _ and -"},
		{barrier(`timeout: 0`), "timeout", "0", duration},
		{barrier(`timeout: 'soon'`), "timeout", `"soon"`, duration},
		{barrier(`timeout: Infinity`), "timeout", "Infinity", duration},
		{barrier(`timeout: 1e15`), "timeout", "1000000000000000", duration},
		{barrier(`timeout: {}`), "timeout", "an object", duration},
		{barrier(`ttl: true`), "ttl", "true", duration},
		{barrier(`ttl: '5s'`), "ttl", "5000 ms", "at least 60000 ms"},
		{barrier(`cyclic: 'yes'`), "cyclic", `"yes"`, "true or false"},
		{barrier(`release: 'most'`), "release", `"most"`, release},
		{barrier(`release: 0`), "release", "0", release},
		{barrier(`release: '90.5%'`), "release", `"90.5%"`, release},
		{barrier(`release: '101%'`), "release", `"101%"`, "a whole percentage from 1% to 100%"},
		{barrier(`release: 3`), "release", "3", "an integer from 1 to parties (2)"},
		{barrier(`maxFailures: 1.5`), "maxFailures", "1.5", "a whole number"},
		{barrier(`maxFailures: -1`), "maxFailures", "-1", "an integer from 0 to 2"},
		{barrier(`late: 'next'`), "late", `"next"`, "'pass' or 'error'"},
		{barrier(`late: 1`), "late", "1", "'pass' or 'error'"},
		{barrier(`onTimeout: 'retry'`), "onTimeout", `"retry"`, "'throw' or 'release' or 'abort'"},
		{barrier(`failUnaccounted: { users: true }`), "failUnaccounted", "an object", "an array of strings"},
		{barrier(`failUnaccounted: ['']`), "failUnaccounted", "an empty name", "names of scenarios"},
		{barrier(`releaseDelay: '-1s'`), "releaseDelay", `"-1s"`, `a duration of 0 or more: milliseconds, or a string such as "200ms"`},
		{barrier(`participant: ''`), "participant", `""`, ids},
		{barrier(`participant: 'ö'.repeat(65)`), "participant", `"` + strings.Repeat("ö", 64) + `"…`, ids},
		{barrier(`participant: -1`), "participant", "-1", ids},
		{barrier(`participant: 2 ** 53`), "participant", "9007199254740992", ids},
		{`b.arrive(5)`, "options", "5", "an object such as { participant: 7 }"},
		{`b.arrive({ participant: () => 1 })`, "participant", "a function", ids},
		{`b.arriveAndWait({ timeout: -5 })`, "timeout", "-5", duration},
		{`b.arriveAndWait({ participant: NaN })`, "participant", "NaN", ids},
		{`b.wait('30s')`, "options", `"30s"`, "an object such as { timeout: '30s' }"},
		{`b.wait({ timeout: null, timeOut: 5 })`, "timeOut", "5", "timeout"},
		{`b.wait({ timeout: 'x' })`, "timeout", `"x"`, duration},
		{`b.fail()`, "reason", "nothing", reason},
		{`b.fail('Login!')`, "reason", `"Login!"`, reason},
		{`b.fail('login', { participant: [] })`, "participant", "an empty array", ids},
		{`b.leave({ participant: '' })`, "participant", `""`, ids},
		{`b.missing(1001)`, "limit", "1001", "a whole number from 0 to 1000"},
		{`b.missing('5')`, "limit", `"5"`, "a whole number from 0 to 1000"},
		{`b.abort()`, "why", "nothing", "a string of 1 to 1024 bytes"},
		{`b.abort('')`, "why", `""`, "a string of 1 to 1024 bytes"},
		{`b.register()`, "participant", "nothing", ids},
		{`b.register(7)`, "options", "7", "an object such as { participant: 7 }"},
		{`new QueueCounter()`, "redis", "nothing", redisURLs},
		{`new QueueCounter('redis://localhost')`, "options", "a URL", `an object such as { redis: 'redis://localhost', keys: ['queue'] }`},
		{`new QueueCounter({ redis: 'localhost', keys: ['k'] })`, "redis", `"localhost"`, redisURLs},
		{`new QueueCounter({ redis: 'http://localhost', keys: ['k'] })`, "redis", `http://localhost/`, redisURLs},
		{counter(`keys: ['k'], tls: {}`), "tls", "options for TLS with redis://localhost", secure},
		{counter(`keys: ['k'], tls: { ca: {} }`), "tls.ca", "an object", pemText},
		{counter(``), "keys", "nothing", "an array of at least one key"},
		{counter(`keys: []`), "keys", "an empty array", "an array of at least one key"},
		{counter(`keys: 'k'`), "keys", `"k"`, "an array of strings"},
		{counter(`keys: ['k', 5]`), "keys[1]", "5", "a string"},
		{counter(`keys: ['k', '']`), "keys", `""`, "keys that are not empty"},
		{counter(`keys: ['k'], timeout: 'x'`), "timeout", `"x"`, duration},
		{`q.waitFor()`, "n", "nothing", "a whole number of at least 0"},
		{`q.waitFor(-1)`, "n", "-1", "a whole number of at least 0"},
		{`q.waitFor(1, 5)`, "options", "5", "an object such as { timeout: '30s' }"},
		{`q.waitFor(1, { interval: 1 })`, "interval", "1", interval},
		{`q.waitFor(1, { timeout: [] })`, "timeout", "an empty array", duration},
		{`q.command('GET', {})`, "argument 2", "an object", "a string or a number"},
		{`q.command('SET', 'k', null)`, "argument 3", "nothing", "a string or a number"},
	}
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 1 }), q = new QueueCounter({ redis: 'redis://localhost', keys: ['k'] })`)
	for _, test := range tests {
		t.Run(test.code, func(t *testing.T) {
			got := strings.Split(v.errorOf(test.code, `[e.name, e.code, e.option, e.got, e.allowed, e.message].join('\n')`), "\n")
			call, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(test.code, "b."), "q."), "(")
			message := call + `() failed; reason: option "` + test.option + `": got ` + test.got + `, allowed is ` + test.allowed
			if test.option == "timeOut" {
				message = call + `() failed; reason: option "timeOut" does not exist, allowed are: timeout`
			}
			assert.Equal(t, []string{optionError, "OPTION", test.option, test.got, test.allowed, message}, got)
		})
	}
}

// An option that does not exist is an error of every call that takes options; the message lists those that exist.
func TestUnknownOptions(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 1 }), q = new QueueCounter({ redis: 'redis://localhost', keys: ['k'] })`)
	for code, known := range map[string]string{
		`new Barrier('x', { parties: 1, nope: 5 })`: "cyclic, failUnaccounted, late, maxFailures, onTimeout, participant, " +
			"parties, reasons, release, releaseAt, releaseDelay, runId, store, timeout, tls, ttl",
		`new Barrier('x', { parties: 1, tls: { nope: 5 } })`:                     "ca, cert, key, serverName",
		`b.arrive({ nope: 5 })`:                                                  "participant",
		`b.fail('x', { nope: 5 })`:                                               "participant",
		`b.leave({ nope: 5 })`:                                                   "participant",
		`b.register({ participant: 1, nope: 5 })`:                                "participant",
		`b.arriveAndWait({ nope: 5 })`:                                           "participant, timeout",
		`b.wait({ nope: 5 })`:                                                    "timeout",
		`new QueueCounter({ redis: 'redis://localhost', keys: ['k'], nope: 5 })`: "keys, redis, timeout, tls",
		`q.waitFor(1, { nope: 5 })`:                                              "interval, timeout",
	} {
		assert.Regexp(t, `^BarrierOptionError: .*\(\) failed; reason: option "(tls\.)?nope" does not exist, allowed are: `+known+`$`,
			v.errorOf(code, `e`), code)
	}
}

func TestNullishOptionsAreDefaults(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 1, store: null, timeout: undefined, late: null, reasons: null })`)
	assert.Equal(t, `"all"`, v.json(`b.arriveAndWait(null).reason`))
}

func TestDurations(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 2, timeout: '1d2h', ttl: 60000, releaseDelay: '250ms' })`)
	for _, timeout := range []string{`10`, `'10'`, `'10ms'`, `0.5`} {
		assert.Equal(t, "BarrierTimeoutError", v.errorOf(`b.wait({ timeout: `+timeout+` })`, `e.name`), timeout)
	}
}

func TestOptionsMustAgree(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	one := p.user(1, `const b = new Barrier('default', { parties: 2 })`)
	two := p.user(2, `const b = new Barrier('default', { parties: 3 })`)
	same := p.user(3, `const b = new Barrier('default', { parties: 2, timeout: '7s', ttl: '2h', reasons: ['login'] })`)
	one.mustRun(`b.arrive()`)
	assert.Equal(t, "BarrierOptionError,parties", two.errorOf(`b.arrive()`, `[e.name, e.option]`))
	assert.Contains(t, two.errorOf(`b.arrive()`, `e.message`), `option "parties": got 3, allowed is 2`)
	assert.Equal(t, `2`, same.json(`b.arrive().index`), "timeout, ttl and reasons may differ")
}

func TestSecretsStayOutOfMessages(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	v := p.user(1, ``)
	for _, code := range []string{
		`new Barrier('x', { parties: 1, store: 'rediss://user:sesame@localhost/x' })`,
		`new Barrier('x', { parties: 1, store: 'redis+cluster://user:sesame@localhost,b/1' })`,
		`new Barrier('x', { parties: 1, store: 'rediss://localhost', tls: { cert: 'x', key: 'sesame' } })`,
		`new Barrier('x', { parties: 1, store: 'rediss://localhost', tls: { ca: 'sesame' } })`,
		`new Barrier('x', { parties: 1, store: 'redis://localhost', tls: { key: 'sesame' } })`,
		`new Barrier('x', { parties: 1, store: 'redis://user:sesame@localhost/x' })`,
		`new Barrier('x', { parties: 1, store: 'redis://user:sesame@:1' })`,
		`new QueueCounter({ redis: 'redis://user:sesame@', keys: ['k'] })`,
		`new QueueCounter({ redis: 'rediss://user:sesame@127.0.0.1:1', keys: ['k'], timeout: 200 }).counts()`,
		`new QueueCounter({ redis: 'redis://user:sesame@127.0.0.1:1', keys: ['k'], timeout: 200 }).counts()`,
	} {
		assert.NotContains(t, v.errorOf(code, `[e, e.stack, JSON.stringify(e)]`), "sesame", code)
	}
	assert.NotContains(t, strings.Join(p.messages(), "\n"), "sesame")
}

func TestSegmentsNeedAStoreAndARunID(t *testing.T) {
	t.Parallel()
	segment, err := lib.NewExecutionSegmentFromString("0:1/2")
	require.NoError(t, err)
	half := func(s *lib.State) { s.Options.ExecutionSegment = segment }
	full := func(s *lib.State) { s.Options.ExecutionSegment, _ = lib.NewExecutionSegmentFromString("0:1") }

	p := newProcess(t)
	memory := `const b = new Barrier('default', { parties: 1 })`
	assert.Equal(t, `arrive() failed; reason: option "store": got "memory" under the execution segment 0:1/2, allowed is `+
		`a redis:// URL that all processes of the run share`, p.user(1, memory, half).errorOf(`b.arrive()`, `e.message`))
	assert.Equal(t, `1`, p.user(1, memory, full).json(`b.arrive().index`))

	random := `const b = new Barrier('default', { parties: 1, store: 'redis://127.0.0.1:1' })`
	assert.Equal(t, `arrive() failed; reason: option "runId": got nothing under the execution segment 0:1/2, allowed is `+
		`the option runId or the environment variable K6_BARRIER_RUN_ID, the same in all processes of the run`,
		p.user(1, random, half).errorOf(`b.arrive()`, `e.message`))
}
