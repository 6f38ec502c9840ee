package core

import (
	"context"
	"encoding/json"
	"fmt"
)

// Operator sees and ends barriers from outside. It takes part in none of them.
type Operator struct {
	client *Client
	handle uint64
}

// OperatorOptions say which server an operator looks at.
type OperatorOptions struct {
	Redis   string      `json:"redis"`
	TLS     *TLSOptions `json:"tls,omitempty"`
	Timeout int64       `json:"timeoutMs"`
}

// Sight is a barrier as an operator sees it. Times are milliseconds since the epoch on the store's clock.
type Sight struct {
	RunID  string `json:"runId"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Phase  uint32 `json:"phase"`
	Cyclic bool   `json:"cyclic"`

	Parties     uint64            `json:"parties"`
	Quorum      *uint64           `json:"quorum"`
	Arrived     uint64            `json:"arrived"`
	Failed      map[string]uint64 `json:"failed"`
	FailedTotal uint64            `json:"failedTotal"`
	Left        uint64            `json:"left"`
	Late        uint64            `json:"late"`
	Missing     uint64            `json:"missing"`
	MissingIDs  []string          `json:"missingIds,omitempty"`

	// Since is when the barrier came into this state and phase.
	Since         *float64      `json:"since"`
	NewestRelease *SightRelease `json:"newestRelease"`
	Broken        *BrokenInfo   `json:"broken"`
	Processes     uint64        `json:"processes"`
	// HeardAt is when a process wrote last.
	HeardAt *float64 `json:"heardAt"`
	// TTLMs is how long the record lives if nobody writes any more.
	TTLMs *int64 `json:"ttlMs"`
	// Now is when this was seen.
	Now float64 `json:"now"`
}

// The states of a [Sight].
const (
	StateOpen     = "open"
	StateReleased = "released"
	StateBroken   = "broken"
)

// GroupSight is groups of one name as an operator sees them. Times are milliseconds since the epoch on the store's clock.
type GroupSight struct {
	RunID string `json:"runId"`
	Name  string `json:"name"`
	// Size is how many members a group has, Groups how many groups have formed.
	Size   uint64 `json:"size"`
	Groups uint64 `json:"groups"`
	// Waiting is how many users wait; WaitingIDs are the first of them.
	Waiting    uint64   `json:"waiting"`
	WaitingIDs []string `json:"waitingIds"`
	// Processes is how many there are that have not gone.
	Processes uint64 `json:"processes"`
	// HeardAt is when a process wrote last.
	HeardAt *float64 `json:"heardAt"`
	// TTLMs is how long the record lives if nobody writes any more.
	TTLMs *int64 `json:"ttlMs"`
	// Now is when this was seen.
	Now float64 `json:"now"`
}

// SightRelease is the release of a phase as an operator sees it.
type SightRelease struct {
	Phase   uint32            `json:"phase"`
	Reason  string            `json:"reason"`
	Arrived uint64            `json:"arrived"`
	Failed  map[string]uint64 `json:"failed"`
	Left    uint64            `json:"left"`
	// At is its instant, which may lie ahead. LastAt is when the last user goes, where they go one after the other.
	At     float64  `json:"at"`
	LastAt *float64 `json:"lastAt,omitempty"`
}

// Ended says what became of the attempt to end a barrier.
type Ended struct {
	// Answer is Done, or what stood before and stands on.
	Answer  string `json:"answer"`
	Barrier *Sight `json:"barrier"`
}

// The answers of [Ended].
const (
	Done            = "done"
	AlreadyReleased = "released"
	AlreadyBroken   = "broken"
)

// OpenOperator makes an operator. Nothing is connected before its first question.
func (c *Client) OpenOperator(options OperatorOptions) (*Operator, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("asking the core: %w", err)
	}
	handle, err := c.engine.OpenOperator(text)
	if err != nil {
		return nil, err
	}
	return &Operator{client: c, handle: handle}, nil
}

// operatorQuestion has the fields of the question that it is, and of no other.
type operatorQuestion struct {
	Op      string  `json:"op"`
	RunID   string  `json:"runId,omitempty"`
	Name    string  `json:"name,omitempty"`
	Limit   *uint32 `json:"limit,omitempty"`
	Missing *uint32 `json:"missing,omitempty"`
	Phase   *uint32 `json:"phase,omitempty"`
	Message *string `json:"message,omitempty"`
}

// List gives the barriers of a run, or of all where the run id is empty. It is not complete where there are more than
// the limit.
func (o *Operator) List(ctx context.Context, runID string, limit uint32) (barriers []Sight, complete bool, err error) {
	var answer struct {
		Barriers []Sight `json:"barriers"`
		Complete bool    `json:"complete"`
	}
	err = o.client.Query(ctx, o.handle, operatorQuestion{Op: "list", RunID: runID, Limit: &limit}, &answer)
	return answer.Barriers, answer.Complete, err
}

// Groups gives the groups of a run, or of all where the run id is empty: of so many names at most.
func (o *Operator) Groups(ctx context.Context, runID string, limit uint32) (groups []GroupSight, complete bool, err error) {
	var answer struct {
		Groups   []GroupSight `json:"groups"`
		Complete bool         `json:"complete"`
	}
	err = o.client.Query(ctx, o.handle, operatorQuestion{Op: "groups", RunID: runID, Limit: &limit}, &answer)
	return answer.Groups, answer.Complete, err
}

// Server is a server of the store. What the user of the store may not know is nil or empty.
type Server struct {
	// At is host and port.
	At string `json:"at"`
	// Version has the system's name before it: "Redis 7.0.15".
	Version string `json:"version"`
	// MaxMemory is the limit of memory in bytes, 0 for none; Eviction what becomes of keys at it.
	MaxMemory *uint64 `json:"maxMemory"`
	Eviction  string  `json:"eviction"`
}

// Servers gives the servers of the store: all of a cluster that hold keys.
func (o *Operator) Servers(ctx context.Context) ([]Server, error) {
	var answer struct {
		Servers []Server `json:"servers"`
	}
	err := o.client.Query(ctx, o.handle, operatorQuestion{Op: "servers"}, &answer)
	return answer.Servers, err
}

// Look gives one barrier with the ids of at most so many who are missing, or nil where there is none.
func (o *Operator) Look(ctx context.Context, runID, name string, missing uint32) (*Sight, error) {
	var answer struct {
		Barrier *Sight `json:"barrier"`
	}
	question := operatorQuestion{Op: "look", RunID: runID, Name: name, Missing: &missing}
	err := o.client.Query(ctx, o.handle, question, &answer)
	return answer.Barrier, err
}

// Release lets everyone go who waits for the phase.
func (o *Operator) Release(ctx context.Context, runID, name string, phase uint32) (*Ended, error) {
	answer := new(Ended)
	question := operatorQuestion{Op: "release", RunID: runID, Name: name, Phase: &phase}
	err := o.client.Query(ctx, o.handle, question, answer)
	return answer, err
}

// Abort breaks the barrier for everyone and for good.
func (o *Operator) Abort(ctx context.Context, runID, name, message string) (*Ended, error) {
	answer := new(Ended)
	question := operatorQuestion{Op: "abort", RunID: runID, Name: name, Message: &message}
	err := o.client.Query(ctx, o.handle, question, answer)
	return answer, err
}
