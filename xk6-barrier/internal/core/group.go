package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Group is the groups of one name in this process. All its virtual users share it.
type Group struct {
	client *Client
	handle uint64
}

// Joined is a group that has formed, as one of its members is told of it. Times are in milliseconds since the epoch.
type Joined struct {
	Group            uint32        `json:"group"`
	Index            uint32        `json:"index"`
	Size             uint32        `json:"size"`
	Reason           string        `json:"reason"`
	ReleasedAt       float64       `json:"releasedAt"`
	ServerReleasedAt *float64      `json:"serverReleasedAt"`
	Members          []GroupMember `json:"members"`
	Left             bool          `json:"left"`    // the place was given up, and there is no group
	Counted          uint32        `json:"counted"` // the groups whose first member is of this process, as far as it has heard
}

// GroupMember is one member of a group.
type GroupMember struct {
	Participant string  `json:"participant"`
	Payload     *string `json:"payload"`
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
	joined := new(Joined)
	if err := json.Unmarshal(text, joined); err != nil {
		return nil, fmt.Errorf("reading the core's answer: %w", err)
	}
	return joined, nil
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
