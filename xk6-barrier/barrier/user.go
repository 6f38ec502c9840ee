package barrier

import (
	"strconv"
	"sync"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// none stands for no phase.
const none int64 = -1

// user is what one virtual user has done at one barrier: enough to tell which phase its next wait is for.
type user struct {
	config *config

	mu         sync.Mutex
	registered *participantID
	accounted  bool   // an outcome was recorded in this iteration
	arrived    int64  // the phase of its arrival, if that is its newest outcome
	returned   int64  // the newest phase that its waits returned
	expired    int64  // the phase of an arrival whose wait timed out
	expiredID  string // and its participant
}

func newUser(c *config) *user {
	return &user{config: c, arrived: none, returned: none, expired: none}
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
	u.registered = id
}

// record takes note of an outcome. own tells whether it is the virtual user's, rather than one that it reports for
// another.
func (u *user) record(answer core.Answer, own bool) {
	if !own {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.accounted = true
	u.arrived = none
	if answer.Outcome == core.OutcomeArrived {
		u.arrived = int64(answer.Phase)
	}
}

// endIteration reports whether an outcome was recorded in the iteration that ends, and starts the next one.
func (u *user) endIteration() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	accounted := u.accounted
	u.accounted = false
	return accounted
}

// waitPhase is the phase that a wait is for: that of the arrival, else the one after the last that was waited for.
func (u *user) waitPhase(openPhase uint32) uint32 {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case !u.config.Cyclic:
		return 0
	case u.arrived != none:
		return uint32(u.arrived) //nolint:gosec // a phase
	case u.returned != none:
		return uint32(u.returned + 1) //nolint:gosec // a phase
	}
	return openPhase
}

// returnedFrom takes note of a wait that is over.
func (u *user) returnedFrom(phase uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.returned = max(u.returned, int64(phase))
	if u.expired <= int64(phase) {
		u.expired = none
	}
}

// timedOut takes note of a wait that timed out. Where it was that of an arrival, the arrival stands, and the next
// arriveAndWait rejoins its phase.
func (u *user) timedOut(phase uint32, participant string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.arrived == int64(phase) {
		u.expired, u.expiredID = int64(phase), participant
	}
}

// rejoins is the phase of an arrival of the participant whose wait timed out.
func (u *user) rejoins(participant string) (phase uint32, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.expired == none || u.expiredID != participant {
		return 0, false
	}
	return uint32(u.expired), true //nolint:gosec // a phase
}
