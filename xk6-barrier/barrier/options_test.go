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
		redisURLs = `redis://[[user]:password@]host[:port][/database]`
	)
	barrier := func(options string) string { return `new Barrier('x', { parties: 2, ` + options + ` })` }
	tests := []struct{ code, option, got, allowed string }{
		{`new Barrier()`, "name", "nothing", "a string"},
		{`new Barrier(7, { parties: 1 })`, "name", "7", "a string"},
		{`new Barrier('a b', { parties: 1 })`, "name", `"a b"`, ""},
		{`new Barrier('x')`, "parties", "nothing", "a whole number"},
		{`new Barrier('x', 5)`, "options", "5", `an object such as { timeout: '30s' }`},
		{`new Barrier('x', [5])`, "options", "an array", `an object such as { timeout: '30s' }`},
		{`new Barrier('x', { parties: 1.5 })`, "parties", "1.5", "a whole number"},
		{`new Barrier('x', { parties: 0 })`, "parties", "0", ""},
		{`new Barrier('x', { parties: '5' })`, "parties", `"5"`, "a whole number"},
		{`new Barrier('x', { parties: NaN })`, "parties", "NaN", "a whole number"},
		{barrier(`store: 5`), "store", "5", "a string"},
		{barrier(`store: ''`), "store", `""`, "a string that is not empty"},
		{barrier(`store: 'disk'`), "store", "", ""},
		{barrier(`runId: 'a/b'`), "runId", `"a/b"`, ""},
		{barrier(`reasons: 'login'`), "reasons", `"login"`, "an array of strings"},
		{barrier(`reasons: ['ok', 5]`), "reasons[1]", "5", "a string"},
		{barrier(`reasons: ['Login']`), "reasons", `"Login"`, ""},
		{barrier(`timeout: 0`), "timeout", "0", duration},
		{barrier(`timeout: 'soon'`), "timeout", `"soon"`, duration},
		{barrier(`timeout: Infinity`), "timeout", "Infinity", duration},
		{barrier(`timeout: {}`), "timeout", "an object", duration},
		{barrier(`ttl: '5s'`), "ttl", "", ""},
		{barrier(`ttl: true`), "ttl", "true", duration},
		{barrier(`cyclic: 'yes'`), "cyclic", `"yes"`, "true or false"},
		{barrier(`release: 'most'`), "release", `"most"`, `a number of arrivals such as 90, or a whole percentage such as "90%"`},
		{barrier(`release: 0`), "release", "0", `a number of arrivals such as 90, or a whole percentage such as "90%"`},
		{barrier(`release: '101%'`), "release", "", ""},
		{barrier(`release: 3`), "release", "", ""},
		{barrier(`maxFailures: -1`), "maxFailures", "-1", ""},
		{barrier(`maxFailures: 1.5`), "maxFailures", "1.5", "a whole number"},
		{barrier(`late: 'next'`), "late", `"next"`, "one of 'pass', 'error'"},
		{barrier(`late: 1`), "late", "1", "a string"},
		{barrier(`onTimeout: 'retry'`), "onTimeout", `"retry"`, "one of 'throw', 'release', 'abort'"},
		{barrier(`failUnaccounted: { users: true }`), "failUnaccounted", "an object", "an array of strings"},
		{barrier(`releaseDelay: '-1s'`), "releaseDelay", `"-1s"`, `a duration of 0 or more: milliseconds, or a string such as "200ms"`},
		{barrier(`participant: ''`), "participant", `""`, ids},
		{barrier(`participant: 'ö'.repeat(65)`), "participant", `"` + strings.Repeat("ö", 64) + `"…`, ids},
		{barrier(`participant: -1`), "participant", "-1", ids},
		{barrier(`participant: 2 ** 53`), "participant", "9007199254740992", ids},
		{barrier(`partys: 5`), "partys", "5", "no option of this name; there are cyclic, failUnaccounted, late, maxFailures, " +
			"onTimeout, participant, parties, reasons, release, releaseDelay, runId, store, timeout, ttl"},
		{`b.arrive({ participant: () => 1 })`, "participant", "a function", ids},
		{`b.arrive({ timeout: 5 })`, "timeout", "5", "no option of this name; there are participant"},
		{`b.arriveAndWait({ timeout: -5 })`, "timeout", "-5", duration},
		{`b.wait({ participant: 5 })`, "participant", "5", "no option of this name; there are timeout"},
		{`b.fail()`, "reason", "nothing", "a string such as 'login': a lower-case letter, then up to 31 of a-z, 0-9, - and _"},
		{`b.fail('Login!')`, "reason", `"Login!"`, "a string such as 'login': a lower-case letter, then up to 31 of a-z, 0-9, - and _"},
		{`b.missing(1001)`, "limit", "1001", "a whole number from 0 to 1000"},
		{`b.abort()`, "why", "nothing", "a string of 1 to 1024 bytes"},
		{`b.register()`, "participant", "nothing", ids},
		{`new QueueCounter()`, "redis", "nothing", redisURLs},
		{`new QueueCounter({ redis: 'localhost', keys: ['k'] })`, "redis", `"localhost"`, redisURLs},
		{`new QueueCounter({ redis: 'redis://localhost' })`, "keys", "nothing", "an array of at least one key, none of them empty"},
		{`new QueueCounter({ redis: 'redis://localhost', keys: [] })`, "keys", "an array", "an array of at least one key, none of them empty"},
		{`new QueueCounter({ redis: 'redis://localhost', keys: ['k'], timeout: 'x' })`, "timeout", `"x"`, duration},
		{`new QueueCounter({ redis: 'redis://localhost', keys: ['k'], key: 'k' })`, "key", `"k"`, "no option of this name; there are keys, redis, timeout"},
		{`q.waitFor(-1)`, "n", "-1", "a whole number of at least 0"},
		{`q.waitFor(1, { interval: 1 })`, "interval", "1", "a duration of at least 10 ms"},
		{`q.waitFor(1, { timeout: [] })`, "timeout", "an array", duration},
	}
	p := newProcess(t)
	v := p.user(1, `const b = new Barrier('default', { parties: 1 }), q = new QueueCounter({ redis: 'redis://localhost', keys: ['k'] })`)
	for _, test := range tests {
		t.Run(test.code, func(t *testing.T) {
			got := strings.Split(v.errorOf(test.code, `[e.name, e.code, e.option, e.got, e.allowed, e.message].join('\n')`), "\n")
			require.Len(t, got, 6)
			assert.Equal(t, []string{optionError, "KBAR_OPTION", test.option}, got[:3])
			if test.got != "" {
				assert.Equal(t, test.got, got[3])
			}
			if test.allowed != "" {
				assert.Equal(t, test.allowed, got[4])
			}
			call, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(test.code, "b."), "q."), "(")
			assert.NotEmpty(t, got[3])
			assert.NotEmpty(t, got[4])
			assert.Equal(t, call+`() failed; reason: option "`+test.option+`": got `+got[3]+`, allowed is `+got[4], got[5])
		})
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
		`new Barrier('x', { parties: 1, store: 'rediss://user:sesame@localhost' })`,
		`new Barrier('x', { parties: 1, store: 'redis://user:sesame@localhost/x' })`,
		`new Barrier('x', { parties: 1, store: 'redis://user:sesame@:1' })`,
		`new QueueCounter({ redis: 'redis://user:sesame@', keys: ['k'] })`,
		`new QueueCounter({ redis: 'rediss://user:sesame@localhost', keys: ['k'] }).counts()`,
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
