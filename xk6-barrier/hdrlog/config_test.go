package hdrlog

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"go.k6.io/k6/v2/output"
)

func read(argument, file string, environment map[string]string) (*config, error) {
	return readConfig(output.Params{ConfigArgument: argument, Environment: environment, JSONConfig: json.RawMessage(file)})
}

func TestParameters(t *testing.T) {
	t.Parallel()
	scenario := []string{"scenario"}
	for name, test := range map[string]struct {
		argument, file string
		environment    map[string]string
		want           config
	}{
		"a file is enough":     {argument: "a.hlog", want: config{"a.hlog", scenario, time.Second, 10_000}},
		"all in the argument":  {argument: "a.hlog?tags=x,y&interval=500ms&series=7", want: config{"a.hlog", []string{"x", "y"}, 500 * time.Millisecond, 7}},
		"an encoded comma":     {argument: "a.hlog?tags=x%2Cy", want: config{"a.hlog", []string{"x", "y"}, time.Second, 10_000}},
		"no tags":              {argument: "a.hlog?tags=", want: config{"a.hlog", []string{}, time.Second, 10_000}},
		"names as they are":    {argument: "100%20 a+b=c.hlog", want: config{"100%20 a+b=c.hlog", scenario, time.Second, 10_000}},
		"the environment":      {environment: map[string]string{"K6_HDRLOG_FILE": "e", "K6_HDRLOG_TAGS": "x", "K6_HDRLOG_INTERVAL": "1m", "K6_HDRLOG_SERIES": "1", "HOME": "/"}, want: config{"e", []string{"x"}, time.Minute, 1}},
		"the argument goes":    {argument: "a?series=2", environment: map[string]string{"K6_HDRLOG_FILE": "e", "K6_HDRLOG_TAGS": "x", "K6_HDRLOG_SERIES": "1"}, want: config{"a", []string{"x"}, time.Second, 2}},
		"parameters alone":     {argument: "?series=2", environment: map[string]string{"K6_HDRLOG_FILE": "e"}, want: config{"e", scenario, time.Second, 2}},
		"the configuration":    {file: `{"file": "c", "tags": ["x", "y"], "series": 5, "interval": "2s"}`, want: config{"c", []string{"x", "y"}, 2 * time.Second, 5}},
		"above it environment": {file: `{"file": "c", "tags": "x,y"}`, environment: map[string]string{"K6_HDRLOG_FILE": "e"}, want: config{"e", []string{"x", "y"}, time.Second, 10_000}},
	} {
		c, err := read(test.argument, test.file, test.environment)
		require.NoError(t, err, name)
		assert.Equal(t, test.want, *c, name)
	}
}

func TestWrongParametersAreNamed(t *testing.T) {
	t.Parallel()
	interval := `allowed is a duration of whole milliseconds from 100ms to 1m0s, such as "1s"`
	tags := "allowed are names of tags with commas between them, each once, or nothing"
	for _, test := range []struct {
		argument, file string
		environment    map[string]string
		want           string
	}{
		{want: "it needs a file: --out hdrlog=FILE, or K6_HDRLOG_FILE in the environment"},
		{argument: "-", want: "allowed is the path of a file, since hdrlog writes two"},
		{argument: "a?tag=x", want: `the argument has the parameter "tag"; allowed are interval, series and tags`},
		{argument: "a?file=b", want: `the argument has the parameter "file"; allowed are interval, series and tags`},
		{argument: "a?series=1&series=2", want: `the argument has the parameter "series" 2 times; allowed is once`},
		{argument: "a?tags=%zz", want: `the argument is "a?tags=%zz": invalid URL escape "%zz"; allowed is FILE?tags=a,b&interval=1s&series=N`},
		{argument: "a?tags=x,,y", want: `tags is "x,,y" in the argument; ` + tags},
		{argument: "a?tags=x,x", want: `tags is "x,x" in the argument; ` + tags},
		{argument: "a?interval=1", want: `interval is "1" in the argument; ` + interval},
		{argument: "a?interval=99ms", want: `interval is "99ms" in the argument; ` + interval},
		{argument: "a?interval=61s", want: `interval is "61s" in the argument; ` + interval},
		{argument: "a?interval=100.5ms", want: `interval is "100.5ms" in the argument; ` + interval},
		{argument: "a?series=0", want: `series is "0" in the argument; allowed is a whole number from 1 to 1000000`},
		{argument: "a?series=1e3", want: `series is "1e3" in the argument; allowed is a whole number from 1 to 1000000`},
		{environment: map[string]string{"K6_HDRLOG_SERIES": "x"}, want: `K6_HDRLOG_SERIES is "x" in the environment; allowed is a whole number from 1 to 1000000`},
		{environment: map[string]string{"K6_HDRLOG_TAG": "x"}, want: "the environment has K6_HDRLOG_TAG; allowed are K6_HDRLOG_FILE, K6_HDRLOG_INTERVAL, K6_HDRLOG_SERIES, K6_HDRLOG_TAGS"},
		{file: `[]`, want: "collectors.hdrlog in the configuration file: json: cannot unmarshal array into Go value of type map[string]interface {}; allowed is an object"},
		{file: `{"tag": "x"}`, want: `collectors.hdrlog in the configuration file has "tag"; allowed are file, interval, series, tags`},
		{file: `{"series": 1.5}`, want: `series is "1.5" in collectors.hdrlog of the configuration file; allowed is a whole number from 1 to 1000000`},
	} {
		_, err := read(test.argument, test.file, test.environment)
		require.EqualError(t, err, test.want)
	}
}

func TestTheStartOfARunShowsTheFile(t *testing.T) {
	t.Parallel()
	out, err := New(output.Params{ConfigArgument: "a.hlog?tags=", Logger: logrus.New()})
	require.NoError(t, err)
	assert.Equal(t, "hdrlog (a.hlog)", out.Description())
}
