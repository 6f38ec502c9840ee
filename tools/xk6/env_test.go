package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// goSays is a Go tool with the given settings.
func goSays(settings map[string]string) func(string) (string, error) {
	return func(name string) (string, error) { return settings[name], nil }
}

func TestLinkEnvSetsWhatTheCoreNeeds(t *testing.T) {
	t.Parallel()

	env, err := linkEnv([]string{"HOME=/home"}, invocation{}, goSays(nil))
	require.NoError(t, err)
	assert.Equal(t, []string{"HOME=/home", "CGO_ENABLED=1", "GOFLAGS=-tags=netgo,osusergo"}, env)
}

func TestLinkEnvLeavesTheUsersDecisions(t *testing.T) {
	t.Parallel()

	settings := goSays(map[string]string{"GOFLAGS": "-mod=mod -tags=one,two"})

	env, err := linkEnv([]string{"CGO_ENABLED=0"}, invocation{}, settings)
	require.NoError(t, err)
	assert.Equal(t, []string{"CGO_ENABLED=0", "GOFLAGS=-mod=mod -tags=one,two,netgo,osusergo"}, env)

	env, err = linkEnv(nil, invocation{cgo: "0", tags: true}, settings)
	require.NoError(t, err)
	assert.Empty(t, env)
}

func TestLinkEnvReportsABrokenGoTool(t *testing.T) {
	t.Parallel()

	broken := errors.New("no go")
	_, err := linkEnv(nil, invocation{}, func(string) (string, error) { return "", broken })
	require.ErrorIs(t, err, broken)
}

func TestCgoOff(t *testing.T) {
	t.Parallel()

	for _, test := range []struct {
		env  string
		flag string
		want bool
	}{
		{"CGO_ENABLED=1", "", false},
		{"CGO_ENABLED=0", "", true},
		{"CGO_ENABLED=0", "1", false},
		{"CGO_ENABLED=1", "0", true},
	} {
		assert.Equal(t, test.want, cgoOff([]string{test.env}, invocation{cgo: test.flag}), test)
	}
}
