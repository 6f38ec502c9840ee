package core

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
)

// keptReleases is how many release records a process keeps; the core keeps the last 16.
const keptReleases = 16

// Barrier is an open barrier of this process. All its virtual users share it.
type Barrier struct {
	client *Client
	handle uint64
	gates  *gates
	// OpenPhase is the phase that was open when this process opened the barrier.
	OpenPhase uint32
	// AtOnce says that its store is this process's memory, which answers at once: only calls that wait take a token. It is
	// set before others have the barrier.
	AtOnce bool

	newest   atomic.Pointer[Release] // what most who wake ask for, without a lock
	mu       sync.Mutex
	releases map[uint32]*Release

	last atomic.Pointer[readStatus]
}

// readStatus is a status as the core wrote it and as it was read. It is asked for much more often than it changes, and
// reading it is the most part of what that costs.
type readStatus struct {
	text   []byte
	status *BarrierStatus
}

// Release is the record of a released phase.
type Release struct {
	Phase            uint32            `json:"phase"`
	Reason           string            `json:"reason"`
	Arrived          uint64            `json:"arrived"`
	Failed           map[string]uint64 `json:"failed"`
	FailedTotal      uint64            `json:"failedTotal"`
	Left             uint64            `json:"left"`
	Parties          uint64            `json:"parties"`
	ReleasedAt       float64           `json:"releasedAt"`
	ServerReleasedAt *float64          `json:"serverReleasedAt"`
}

// BrokenInfo says why a barrier is broken.
type BrokenInfo struct {
	Reason  string  `json:"reason"`
	Message string  `json:"message"`
	Phase   uint32  `json:"phase"`
	At      float64 `json:"at"`
}

// BarrierStatus is a barrier as this process knows it.
type BarrierStatus struct {
	Name             string            `json:"name"`
	RunID            string            `json:"runId"`
	Store            string            `json:"store"`
	Parties          uint64            `json:"parties"`
	Phase            uint32            `json:"phase"`
	Arrived          uint64            `json:"arrived"`
	Failed           map[string]uint64 `json:"failed"`
	FailedTotal      uint64            `json:"failedTotal"`
	Left             uint64            `json:"left"`
	Late             uint64            `json:"late"`
	Released         []uint32          `json:"released"`
	Coming           *Release          `json:"coming"` // the newest release, where its instant lies ahead
	ReleasedAt       *float64          `json:"releasedAt"`
	ServerReleasedAt *float64          `json:"serverReleasedAt"`
	ReceivedMs       *float64          `json:"receivedMs"`
	FirstWakeMs      *float64          `json:"-"` // the core does not know who wakes
	Broken           *BrokenInfo       `json:"broken"`
	Processes        uint64            `json:"processes"`
	Connected        bool              `json:"connected"`
	ClockBoundMs     *float64          `json:"clockBoundMs"`
	PushLatencyMs    *float64          `json:"pushLatencyMs"`
}

// Missing is how many participants of the open phase have no outcome yet.
func (s *BarrierStatus) Missing() uint64 {
	accounted := s.Arrived + s.FailedTotal + s.Left
	return s.Parties - min(accounted, s.Parties)
}

// MissingIDs names participants without an outcome, where the core can name them.
type MissingIDs struct {
	Count uint64   `json:"count"`
	IDs   []string `json:"ids"`
}

// Open opens a barrier and waits until that is done. One that the process has just let go of is opened anew.
func (c *Client) Open(ctx context.Context, options []byte) (*Barrier, error) {
	for {
		b, gone, err := c.open(ctx, options)
		if !gone {
			return b, err
		}
	}
}

func (c *Client) open(ctx context.Context, options []byte) (b *Barrier, gone bool, err error) {
	var handle uint64
	var at *gates
	var made bool
	frame, _, err := c.call(ctx, func(token uint64, _ *Frame) Status {
		var status Status
		if handle, status = c.engine.Open(token, options); handle != 0 {
			at, made = c.gatesOf(handle) // before anything of it comes over the pipe
		}
		return status
	})
	if err != nil {
		gone = handle != 0 && HasStatus(err, Closed) && !c.isLost()
		if gone && made {
			// It went before anybody could use it. Gates that others made open when the core says that it has gone.
			c.barriers.CompareAndDelete(handle, at)
		}
		return nil, gone, err
	}
	return &Barrier{
		client:    c,
		handle:    handle,
		gates:     at,
		OpenPhase: frame.Phase,
		releases:  make(map[uint32]*Release),
	}, false, nil
}

// Handle tells one open barrier from another.
func (b *Barrier) Handle() uint64 { return b.handle }

// Answer is what an operation brought.
type Answer struct {
	Outcome Outcome
	Phase   uint32
	Index   uint32 // of an arrival: 1 for the first one
	First   bool   // the outcome is new; otherwise it stood already
	Reason  string // of a failure that stood already, where the core tells
	// At is when an arrival whose release is spread goes on, in microseconds since the epoch; 0 for all others.
	At uint64
	// Acknowledged is set where a call waits whose arrival the store knows already.
	Acknowledged bool
}

// Do carries out one operation and waits for its answer. Where it returns an error, the answer says what stands.
func (b *Barrier) Do(ctx context.Context, request Request, participant, reason string) (Answer, error) {
	request.Handle = b.handle
	if b.AtOnce {
		request.Flags |= atOnce
		var frame Frame
		token := b.client.tokens.number()
		frame.Status = b.client.engine.Submit(&request, token, participant, reason, &frame)
		frame.Token = token
		return answerOf(b.client.completed(frame))
	}
	return answerOf(b.client.call(ctx, func(token uint64, frame *Frame) Status {
		return b.client.engine.Submit(&request, token, participant, reason, frame)
	}))
}

func answerOf(frame Frame, text []byte, err error) (Answer, error) {
	answer := Answer{
		Outcome: frame.Outcome, Phase: frame.Phase, Index: frame.Index, First: frame.Flags&First != 0,
		At: frame.TimeMicros,
	}
	if len(text) > 0 {
		var standing struct {
			Reason string `json:"reason"`
		}
		if json.Unmarshal(text, &standing) == nil {
			answer.Reason = standing.Reason
		}
	}
	return answer, err
}

// Gate is closed once the phase is released, the barrier is broken or the core is lost: IsReleased and Broken tell which. Only
// frames open it, so that whoever is owed an answer of its own knows that by then.
func (b *Barrier) Gate(phase uint32) <-chan struct{} { return b.gates.gate(phase) }

// IsReleased reports whether a release opened the gate of the phase.
func (b *Barrier) IsReleased(phase uint32) bool { return b.gates.isReleased(phase) }

// Ending is closed once nothing can release a phase any more that is not released by then. Unlike a gate it is not closed by a
// release: who goes at an instant of its own hears of that by its frame.
func (b *Barrier) Ending() <-chan struct{} { return b.gates.ending }

// Broken is closed once the barrier is broken.
func (b *Barrier) Broken() <-chan struct{} { return b.gates.broken }

// Gone is closed once the process has forgotten the barrier or let go of it: whoever needs it opens it again.
func (b *Barrier) Gone() <-chan struct{} { return b.gates.gone }

// Lost is closed when the core is gone; LostError says why.
func (b *Barrier) Lost() <-chan struct{} { return b.client.lost }

// LostError says why Lost was closed.
func (b *Barrier) LostError() error { return b.client.lostError }

// Release is the record of a released phase, or nil. It is read once and shared by all who wait.
func (b *Barrier) Release(phase uint32) *Release {
	if newest := b.newest.Load(); newest != nil && newest.Phase == phase {
		return newest
	}
	b.mu.Lock()
	known := b.releases[phase]
	b.mu.Unlock()
	if known != nil {
		return known
	}

	text, status := b.client.engine.ReleaseInfo(b.handle, phase)
	if status != OK {
		return nil
	}
	release := new(Release)
	if json.Unmarshal(text, release) != nil {
		return nil
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	b.releases[phase] = release
	if newest := b.newest.Load(); newest == nil || newest.Phase < phase {
		b.newest.Store(release)
	}
	for p := range b.releases {
		if p+keptReleases < phase {
			delete(b.releases, p)
		}
	}
	return release
}

// Status is the barrier as this process knows it, without I/O. Nobody may change it: all who ask meanwhile get the same.
func (b *Barrier) Status() (*BarrierStatus, error) {
	text, status := b.client.engine.BarrierStatus(b.handle)
	if status != OK {
		return nil, newError(status, nil)
	}
	if last := b.last.Load(); last != nil && bytes.Equal(last.text, text) {
		return last.status, nil
	}
	s := new(BarrierStatus)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("reading the core's answer: %w", err)
	}
	b.last.Store(&readStatus{text, s})
	return s, nil
}

// Missing asks who has no outcome in the open phase.
func (b *Barrier) Missing(ctx context.Context, limit uint32) (*MissingIDs, error) {
	answer := new(MissingIDs)
	question := struct {
		Op    string `json:"op"`
		Limit uint32 `json:"limit"`
	}{"missing", limit}
	if err := b.client.Query(ctx, b.handle, question, answer); err != nil {
		return nil, err
	}
	return answer, nil
}

// Counts asks a queue counter for the length of each of its queues, in the order of its keys.
func (c *Client) Counts(ctx context.Context, counter uint64) ([]uint64, error) {
	text, err := c.ask(ctx, counter, []byte(`{"op":"counts"}`))
	if err != nil {
		return nil, err
	}
	return readCounts(text)
}

// readCounts reads {"counts":[n,...]}. There may be thousands, and encoding/json takes ten times as long for a number.
func readCounts(text []byte) ([]uint64, error) {
	list, begins := bytes.CutPrefix(text, []byte(`{"counts":[`))
	list, ends := bytes.CutSuffix(list, []byte(`]}`))
	if !begins || !ends {
		return nil, fmt.Errorf("reading the core's answer: no list of counts: %.100q", text)
	}
	counts := make([]uint64, 0, bytes.Count(list, []byte{','})+1)
	for number := range bytes.SplitSeq(list, []byte{','}) {
		n, err := strconv.ParseUint(string(number), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("reading the core's answer: a count: %w", err)
		}
		counts = append(counts, n)
	}
	return counts, nil
}

// Command asks a queue counter to send one command, its name first and its key second. The answer is a string, a number
// or nil.
func (c *Client) Command(ctx context.Context, counter uint64, words []string) (any, error) {
	var answer struct {
		Answer any `json:"answer"`
	}
	question := struct {
		Op    string   `json:"op"`
		Words []string `json:"words"`
	}{"command", words}
	if err := c.Query(ctx, counter, question, &answer); err != nil {
		return nil, err
	}
	return answer.Answer, nil
}
