package core

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Group is the groups of one name in this process. All its virtual users share it.
type Group struct {
	client *Client
	handle uint64
	recent [64]atomic.Pointer[groupMembers] // by number: each of its members here is told the same
}

// groupMembers are the members of a group with the text that they were read from.
type groupMembers struct {
	text    string
	members []GroupMember
}

// Joined is a group that has formed, as one of its members is told of it. Times are in milliseconds since the epoch.
type Joined struct {
	Group            uint32
	Index            uint32
	Size             uint32
	Reason           string
	ReleasedAt       float64
	ServerReleasedAt *float64
	Members          []GroupMember // shared by all who are told of it: nobody may change them
	Left             bool          // the place was given up, and there is no group
	Counted          uint32        // the groups whose first member is of this process, as far as it has heard
}

// GroupMember is one member of a group.
type GroupMember struct {
	Participant string
	Payload     *string
}

// GroupJoin is a user that comes.
type GroupJoin struct {
	Participant string
	Owner       uint64
	Payload     *string
	Wait        time.Duration
}

// GroupStatus is groups as this process knows them.
type GroupStatus struct {
	Name      string `json:"name"`
	RunID     string `json:"runId"`
	Store     string `json:"store"`
	Size      uint32 `json:"size"`
	Groups    uint32 `json:"groups"`
	Waiting   uint64 `json:"waiting"`
	Processes uint32 `json:"processes"`
	Connected bool   `json:"connected"`
	Counted   uint32 `json:"counted"` // as in Joined
}

// groupQuestion is what groups are asked; each op takes some of the fields.
type groupQuestion struct {
	Op          string  `json:"op"`
	Participant string  `json:"participant,omitempty"`
	Owner       *uint64 `json:"owner,omitempty"`
	Payload     *string `json:"payload,omitempty"`
	WaitMicros  *int64  `json:"waitUs,omitempty"`
	Token       *uint64 `json:"token,omitempty"`
}

// OpenGroup opens groups. Nothing is connected before somebody joins.
func (c *Client) OpenGroup(options []byte) (*Group, error) {
	handle, err := c.engine.OpenGroup(options)
	if err != nil {
		return nil, err //nolint:wrapcheck // it is the core's
	}
	return &Group{client: c, handle: handle}, nil
}

// Join waits for the user's group. Where the context ends before, the user gives up its place.
func (g *Group) Join(ctx context.Context, join GroupJoin) (*Joined, error) {
	wait := join.Wait.Microseconds()
	question, err := json.Marshal(groupQuestion{
		Op: "join", Participant: join.Participant, Owner: &join.Owner, Payload: join.Payload, WaitMicros: &wait,
	})
	if err != nil {
		return nil, fmt.Errorf("asking the core: %w", err)
	}
	var mine uint64
	_, text, err := g.client.call(ctx, func(token uint64, _ *Frame) Status {
		mine = token
		return g.client.engine.Query(g.handle, token, question)
	})
	if errors.Is(err, ErrEnded) {
		var none struct{}
		withdraw := groupQuestion{Op: "withdraw", Participant: join.Participant, Token: &mine}
		if failed := g.client.Query(context.WithoutCancel(ctx), g.handle, withdraw, &none); failed != nil {
			return nil, err // the core is gone, and the place with it
		}
	}
	if err != nil {
		return nil, err
	}
	joined, err := g.joined(text)
	if err != nil {
		return nil, fmt.Errorf("reading the core's answer: %w", err)
	}
	return joined, nil
}

// joined reads [group,index,size,reason,releasedAt,serverReleasedAt,counted,members]. Every user of a crowd does so at once, which is why it
// is read by hand, and the members once for all of a group.
func (g *Group) joined(text []byte) (*Joined, error) {
	if bytes.HasPrefix(text, []byte("{")) {
		var joined struct{ Left bool }
		err := json.Unmarshal(text, &joined)
		return &Joined{Left: joined.Left}, err //nolint:wrapcheck // the caller says what was read
	}
	numbers, members, found := bytes.Cut(bytes.TrimSuffix(bytes.TrimPrefix(text, []byte("[")), []byte("]")), []byte(",["))
	fields := strings.Split(string(numbers), ",")
	if !found || len(fields) != 7 {
		return nil, fmt.Errorf("%w: %q", errNoGroup, text)
	}
	var failed error
	whole := func(field string) uint32 {
		n, err := strconv.ParseUint(field, 10, 32)
		failed = cmp.Or(failed, err)
		return uint32(n) // #nosec G115 -- it has 32 bits
	}
	decimal := func(field string) float64 {
		n, err := strconv.ParseFloat(field, 64)
		failed = cmp.Or(failed, err)
		return n
	}
	joined := &Joined{
		Group: whole(fields[0]), Index: whole(fields[1]), Size: whole(fields[2]), Reason: strings.Trim(fields[3], `"`),
		ReleasedAt: decimal(fields[4]), Counted: whole(fields[6]),
	}
	if fields[5] != "null" {
		at := decimal(fields[5])
		joined.ServerReleasedAt = &at
	}
	if failed != nil {
		return nil, failed
	}
	var err error
	joined.Members, err = g.members(joined.Group, members)
	return joined, err
}

var errNoGroup = errors.New("no group is")

// members reads the list of members, but for its first bracket.
func (g *Group) members(group uint32, text []byte) ([]GroupMember, error) {
	recent := &g.recent[group%uint32(len(g.recent))]
	if known := recent.Load(); known != nil && known.text == string(text) {
		return known.members, nil
	}
	var listed [][2]*string
	if err := json.Unmarshal(append([]byte("["), text...), &listed); err != nil {
		return nil, err //nolint:wrapcheck // the caller says what was read
	}
	members := make([]GroupMember, len(listed))
	for at, member := range listed {
		if member[0] == nil {
			return nil, fmt.Errorf("%w: %q", errNoGroup, text)
		}
		members[at] = GroupMember{Participant: *member[0], Payload: member[1]}
	}
	recent.Store(&groupMembers{string(text), members})
	return members, nil
}

// Leave gives up a user's place, and reports whether it had one.
func (g *Group) Leave(ctx context.Context, participant string) (bool, error) {
	var answer struct {
		Left bool `json:"left"`
	}
	err := g.client.Query(ctx, g.handle, groupQuestion{Op: "leave", Participant: participant}, &answer)
	return answer.Left, err
}

// Status is what this process knows, without I/O.
func (g *Group) Status(ctx context.Context) (*GroupStatus, error) {
	status := new(GroupStatus)
	if err := g.client.Query(ctx, g.handle, groupQuestion{Op: "status"}, status); err != nil {
		return nil, err
	}
	return status, nil
}
