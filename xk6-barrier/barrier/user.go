package barrier

import (
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// none stands for no phase.
const none int64 = -1

// ownArrival says who arrived for a virtual user, and in which phase.
type ownArrival struct {
	participant string
	phase       int64
}

// user is what one virtual user has done at one barrier: enough to tell which phase its next wait is for.
type user struct {
	config *config

	telling   sync.Mutex // held while the core is told who runs
	iteration uint64     // changes when one begins or ends, where that is told

	mu         sync.Mutex
	handle     uint64 // of the open barrier that all this is about; 0 before the first call
	registered *participantID
	runs       string            // who stands for it among those who run; "" where nobody does
	stood      string            // who did last, by an outcome; "" where nobody has yet
	pausing    *time.Timer       // until it does not run any more
	accounted  bool              // an outcome was recorded in this iteration
	takesPart  bool              // or in an earlier one
	waits      bool              // wait() was called
	arrived    int64             // the phase of its arrival, if that is its newest outcome
	own        ownArrival        // the newest one of whoever stands for it
	returned   int64             // the newest phase that its waits returned
	expired    map[string]uint32 // the phases of arrivals whose wait timed out, by participant
	notes      uint64            // how many outcomes were noted
}

func newUser(c *config) *user {
	return &user{config: c, arrived: none, returned: none}
}

// turnTo says which open barrier the next call is about, and reports whether that is another one than before. What was done at
// one that is gone says nothing of another.
func (u *user) turnTo(handle uint64) (isAnother bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	isAnother = u.handle != handle
	if u.handle != handle && u.handle != 0 {
		u.arrived, u.returned, u.expired, u.runs, u.stood, u.own = none, none, nil, "", "", ownArrival{}
	}
	u.handle = handle
	return isAnother
}

// turnedTo is the open barrier that the last call was about.
func (u *user) turnedTo() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.handle
}

// participant is the id that stands for the virtual user: the registered one, else its id in the test.
func (u *user) participant(vu uint64) (id string, explicit bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.registered != nil {
		return u.registered.id, true
	}
	return strconv.FormatUint(vu, 10), false
}

// register says which id stands for the virtual user from now on.
func (u *user) register(id *participantID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.registered, u.stood = id, ""
}

// record takes note of an outcome of the virtual user, reported for this participant.
func (u *user) record(answer core.Answer, participant string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.accounted, u.takesPart = true, true
	u.notes++
	u.arrived = none
	if answer.Outcome == core.OutcomeArrived {
		u.arrived = int64(answer.Phase)
	}
	u.noteOwn(participant, u.arrived)
}

// noteOwn is record for whoever stands for the virtual user; others arrive for themselves. It is called with the lock.
func (u *user) noteOwn(participant string, arrived int64) {
	if participant == u.runs {
		u.own = ownArrival{participant, arrived}
	}
}

// noted is what outcomes leave behind.
type noted struct {
	accounted, takesPart bool
	arrived              int64
	own                  ownArrival
	at                   uint64 // the note that this is from before
}

// enter takes note of an arrival that the store has yet to acknowledge, and gives what was noted before.
func (u *user) enter(phase uint32, participant string) (before noted) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.notes++
	before = noted{u.accounted, u.takesPart, u.arrived, u.own, u.notes}
	u.accounted, u.takesPart, u.arrived = true, true, int64(phase)
	u.noteOwn(participant, u.arrived)
	return before
}

// revoke takes back what enter noted, unless another outcome of the virtual user was noted since.
func (u *user) revoke(before noted) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.notes == before.at {
		u.accounted, u.takesPart, u.arrived, u.own = before.accounted, before.takesPart, before.arrived, before.own
		u.notes-- // what was noted before may be taken back as well
	}
}

// startIteration forgets what belonged to the iteration before.
func (u *user) startIteration() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.accounted = false
}

// isAccounted reports whether an outcome was recorded in this iteration.
func (u *user) isAccounted() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.accounted
}

// spectates reports whether the virtual user only ever waited, without a participant of its own.
func (u *user) spectates() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.waits && !u.takesPart && u.registered == nil
}

// waited takes note of a call of wait().
func (u *user) waited() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waits = true
}

// waitPhase is the phase that a wait is for: that of the arrival, else the one after the last that was waited for.
func (u *user) waitPhase(openPhase uint32) uint32 {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case !u.config.Cyclic:
		return 0
	case u.arrived != none:
		return uint32(u.arrived) // #nosec G115 -- a phase
	case u.returned != none:
		return uint32(u.returned + 1) // #nosec G115 -- a phase
	}
	return openPhase
}

// returnedFrom takes note of a wait that is over: that of one participant's arrival, or that of the virtual user
// itself, which speaks for all its participants.
func (u *user) returnedFrom(phase uint32, participant string, all bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.returned = max(u.returned, int64(phase))
	if len(u.expired) == 0 {
		return
	}
	maps.DeleteFunc(u.expired, func(id string, expired uint32) bool {
		return expired <= phase && (all || id == participant)
	})
}

// timedOut takes note of a wait that timed out. Where it was that of an arrival, the arrival stands, and the next
// arriveAndWait rejoins its phase.
func (u *user) timedOut(phase uint32, participant string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.arrived == int64(phase) {
		if u.expired == nil {
			u.expired = make(map[string]uint32)
		}
		u.expired[participant] = phase
	}
}

// rejoins is the phase of an arrival of the participant whose wait timed out.
func (u *user) rejoins(participant string) (phase uint32, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	phase, ok = u.expired[participant]
	return phase, ok
}
