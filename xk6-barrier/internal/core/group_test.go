package core

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGroupsAreReadAsTheCoreWritesThem(t *testing.T) {
	t.Parallel()
	group := &Group{}
	brackets := `],["x`
	const members = `[["1",null],["a,[b","],[\"x"]]`
	joined, err := group.joined([]byte(`[70,2,2,"timeout",1795377804181.5,null,3,` + members + `]`))
	require.NoError(t, err)
	assert.Equal(t, &Joined{
		Group: 70, Index: 2, Size: 2, Reason: "timeout", ReleasedAt: 1795377804181.5, Counted: 3,
		Members: []GroupMember{{Participant: "1"}, {Participant: "a,[b", Payload: &brackets}},
	}, joined)
	server := 1795377804181.25
	again, err := group.joined([]byte(`[70,1,2,"all",1795377804181.5,1795377804181.25,3,` + members + `]`))
	require.NoError(t, err)
	assert.Equal(t, &server, again.ServerReleasedAt)
	assert.Same(t, &joined.Members[0], &again.Members[0], "they are read once")

	another, err := group.joined([]byte(`[6,1,2,"all",1.5,null,4,[["3",null],["4",null]]]`))
	require.NoError(t, err)
	assert.Equal(t, []GroupMember{{Participant: "3"}, {Participant: "4"}}, another.Members, "another group in the same place")

	left, err := group.joined([]byte(`{"left":true}`))
	require.NoError(t, err)
	assert.Equal(t, &Joined{Left: true}, left)

	for _, text := range []string{
		``, `[]`, `{`, `[1,2,3]`, `[x,1,2,"all",1,null,4,[["3",null]]]`, `[1,1,2,"all",x,null,4,[["3",null]]]`,
		`[1,1,2,"all",1,x,4,[["3",null]]]`, `[1,1,2,"all",1,null,4,[["3",null]`, `[1,1,2,"all",1,null,4,[[null,null]]]`,
	} {
		_, err := group.joined([]byte(text))
		assert.Error(t, err, text)
	}
}
