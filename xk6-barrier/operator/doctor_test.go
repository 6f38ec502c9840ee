package operator

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/redistest"
)

// examined runs the doctor and gives what it found, by check, and its error.
func examined(t *testing.T, env map[string]string, args ...string) (map[string]finding, error) {
	t.Helper()
	c := newConsole(env)
	err := c.run(t.Context(), append([]string{"doctor", "--json"}, args...)...)
	var answer struct {
		Fit    bool      `json:"fit"`
		Checks []finding `json:"checks"`
	}
	require.NoError(t, json.Unmarshal([]byte(c.out.String()), &answer), c.out.String())
	assert.Equal(t, err == nil, answer.Fit)
	found := map[string]finding{}
	for _, f := range answer.Checks {
		found[f.Check] = f
		if f.State == bad {
			assert.NotEmpty(t, f.Mend, "%s: %s", f.Check, f.Text)
		}
	}
	return found, err
}

func TestADoctorFindsAStoreFitAndLeavesNothingForEver(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	shown := prints(t, url, "doctor")
	for _, want := range []string{
		`ok +k6 +\S+ with xk6-barrier .*, core \w+, ABI \d+, go\d`, `ok +core +two users met in memory, in `,
		`ok +store +Redis \d+\.\d+\.\d+ at 127\.0\.0\.1:\d+ answers in `, `ok +rights +two users met over the store, in `,
		`ok +eviction +the store throws no key away`, `ok +clock +\S+ apart`, `ok +files +[\d,]+ open files`,
		`ok +segments +none by flags or the environment`,
	} {
		assert.Regexp(t, want, shown)
	}
	assert.True(t, strings.HasSuffix(shown, "\nfit\n"), shown)
	assert.Regexp(t, `expires +in (1m0s|[1-5]?\ds), if nobody writes`, prints(t, url, "status"))

	found, err := examined(t, nil)
	require.NoError(t, err)
	assert.Equal(t, note, found["store"].State, "one process needs no store")
}

func TestADoctorNamesWhatAStoreLacks(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	found, err := examined(t, map[string]string{redisEnv: "redis://who:geheim@" + closed.Addr().String()}, "--timeout", "300ms")
	require.EqualError(t, err, "not fit: store")
	assert.Contains(t, found["store"].Text, closed.Addr().String()+" cannot be reached")
	assert.NotContains(t, found["store"].Text, "geheim")

	server := redistest.Start(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	found, err = examined(t, map[string]string{redisEnv: server.URL()})
	require.EqualError(t, err, "not fit: eviction")
	assert.Contains(t, found["eviction"].Text, "maxmemory-policy allkeys-lru under a limit of 104,857,600 bytes")
	assert.Contains(t, found["eviction"].Mend, "noeviction")

	require.NoError(t, server.Do(t.Context(), "ACL", "SETUSER", "silent", "on", ">geheim", "~K6_BARRIER_*", "&K6_BARRIER_*",
		"+@all", "-info").Err())
	silent := strings.Replace(server.URL(), "redis://", "redis://silent:geheim@", 1)
	found, err = examined(t, map[string]string{redisEnv: silent})
	require.NoError(t, err)
	assert.Equal(t, note, found["eviction"].State)

	require.NoError(t, server.Do(t.Context(), "ACL", "SETUSER", "silent", "-evalsha").Err())
	found, err = examined(t, map[string]string{redisEnv: silent})
	require.EqualError(t, err, "not fit: store")
	assert.Contains(t, found["store"].Text, "no permissions to run the 'evalsha' command; the ACL user needs ~K6_BARRIER_*")
	assert.NotContains(t, found["store"].Text, "geheim")
}

// The rules are those of docs/how-to/connect-to-redis.md.
func TestADoctorLooksAtAllItMayWithTheRulesThatABarrierNeeds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rules := "ACL SETUSER k6 on >password resetchannels ~K6_BARRIER_* &K6_BARRIER_* +evalsha +script|load +subscribe +publish " +
		"+time +type +hget +hmget +hset +hdel +hexists +set +del +sadd +pexpire"
	words := []any{}
	for word := range strings.FieldsSeq(rules) {
		words = append(words, word)
	}
	require.NoError(t, server.Do(t.Context(), words...).Err())
	url := strings.Replace(server.URL(), "redis://", "redis://k6:password@", 1)
	found, err := examined(t, map[string]string{redisEnv: url})
	require.NoError(t, err, "a test runs with these rules")
	assert.Equal(t, fine, found["rights"].State)
	assert.Equal(t, note, found["store"].State)
	assert.Contains(t, found["store"].Text, "how quickly it answers was not looked at")
	assert.Equal(t, note, found["eviction"].State)
	assert.Equal(t, fine, found["clock"].State)
	assert.Regexp(t, `^\S+ apart from the store's$`, found["clock"].Text)
}

func TestADoctorHasAMendOfItsOwnForEachFaultOfAStore(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	require.NoError(t, server.Do(t.Context(), "CONFIG", "SET", "requirepass", "geheim").Err())
	lonely := redistest.Start(t, "--min-replicas-to-write", "1")
	replica := redistest.Start(t, "--replicaof", "127.0.0.1", "1")
	for _, c := range []struct{ url, mend string }{
		{server.URL(), "redis://USER:PASSWORD@HOST:PORT"},
		{strings.Replace(server.URL(), "redis://", "redis://:wrong@", 1), "redis://USER:PASSWORD@HOST:PORT"},
		{strings.Replace(server.URL(), "redis://", "rediss://", 1), "redis:// in place of rediss://"},
		{"redis://127.0.0.1:1", "correct host and port"},
		{"redis://no.such.host.invalid:6379", "correct the host's name"},
		{"redis://redis-replica-0.invalid:6379", "correct the host's name"},
		{lonely.URL(), "min-replicas-to-write with fewer"},
		{replica.URL(), "name the primary"},
	} {
		found, err := examined(t, map[string]string{redisEnv: c.url}, "--timeout", "2s")
		require.EqualError(t, err, "not fit: store", c.url)
		assert.Contains(t, found["store"].Mend, c.mend, found["store"].Text)
	}
}

func TestADoctorComparesTheMachineWithTheUsers(t *testing.T) {
	t.Parallel()
	found, err := examined(t, nil, "--users", "4000000000")
	require.ErrorContains(t, err, "files")
	assert.Equal(t, "ulimit -n 4000000100", found["files"].Mend)
	found, err = examined(t, nil, "--users", "1")
	require.NoError(t, err)
	assert.Equal(t, fine, found["files"].State)
}

func TestADoctorNamesWhatOneOfSeveralProcessesLacks(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	env := map[string]string{segmentEnv: "0:1/2"}
	for _, step := range []struct{ mend, name, value string }{
		{runIDEnv, runIDEnv, "load-7"},
		{sequenceEnv, sequenceEnv, "0,1/2,1"},
		{redisEnv, redisEnv, url},
	} {
		found, err := examined(t, env)
		require.EqualError(t, err, "not fit: segments")
		assert.Contains(t, found["segments"].Mend, step.mend)
		env[step.name] = step.value
	}
	found, err := examined(t, env)
	require.NoError(t, err)
	assert.Equal(t, "0:1/2 of run load-7", found["segments"].Text)
	// Flags, as k6 has them, go before the environment.
	found, err = examined(t, env, "--execution-segment", "1/2:1")
	require.NoError(t, err)
	assert.Equal(t, "1/2:1 of run load-7", found["segments"].Text)
}

func TestADoctorRefusesSegmentsThatK6WouldRefuse(t *testing.T) {
	t.Parallel()
	for _, step := range []struct{ segment, sequence, text string }{
		{"half", "", `"half" is none`},
		{"0:1/3", "0,1/2,1", `0:1/3 is not one of the sequence "0,1/2,1"`},
		{"0:1/2", "0", `not one of the sequence "0"`},
	} {
		found, err := examined(t, nil, "--execution-segment", step.segment, "--execution-segment-sequence", step.sequence)
		require.EqualError(t, err, "not fit: segments", step.segment)
		assert.Contains(t, found["segments"].Text, step.text)
	}
	found, err := examined(t, nil, "--execution-segment", "0:1")
	require.NoError(t, err)
	assert.Equal(t, fine, found["segments"].State)
}
