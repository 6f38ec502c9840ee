package barrier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/grafana/sobek"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// waited is how a wait ended well.
type waited struct {
	release *core.Release
	outcome core.Outcome // of the participant that waited; none for a spectator
	lasted  time.Duration
	turn    *turn // of a user that went at an instant of its own; else nil
}

// reason is the release's, or that the participant was late for it.
func (w waited) reason() string {
	if w.outcome == core.OutcomeLate {
		return w.outcome.String()
	}
	return w.release.Reason
}

// expected is the release of a phase as it is when all arrive. All who wait share it.
func (s *openBarrier) expected(phase uint32) *core.Release {
	if known := s.likely.Load(); known != nil && known.Phase == phase {
		return known
	}
	parties := uint64(s.config.Parties.count) // #nosec G115 -- checked
	likely := &core.Release{Phase: phase, Reason: "all", Arrived: parties, Parties: parties}
	s.likely.Store(likely)
	return likely
}

// lookTimeout is how long a wait may outlast its deadline while the store is asked for the last time.
const lookTimeout = 2 * time.Second

// hearsay is the time between two looks at the record of a release whose news has not come.
const hearsay = time.Second

// deadlines are when a wait expires and when its last look at the store has to be over.
type deadlines struct {
	wait    time.Time
	look    time.Time
	clamped time.Duration
}

// deadlines keeps a wait below the limit that k6 sets, so that our error, which has counts, comes before k6's.
func (c *call) deadlines() deadlines {
	d := deadlines{wait: c.started.Add(c.timeout)}
	limit, ok := c.ctx.Deadline()
	if !ok {
		d.look = d.wait.Add(lookTimeout)
		return d
	}
	left := limit.Sub(c.started)
	margin := min(time.Second, left/10)
	if latest := limit.Add(-margin); latest.Before(d.wait) {
		d.wait, d.clamped = latest, left
	}
	d.look = d.wait.Add(lookTimeout)
	if latest := limit.Add(-margin / 4); latest.Before(d.look) {
		d.look = latest
	}
	return d
}

// limit is how long the core may let the call wait.
func (d deadlines) limit() core.Limit {
	return core.Limit{Wait: time.Until(d.wait), Store: d.look.Sub(d.wait)}
}

// unopened is the error of a wait whose time was over before the barrier was open.
func (c *call) unopened(err error) error {
	if !errors.Is(err, core.ErrEnded) || c.ctx.Err() != nil {
		return err
	}
	return c.unanswered(false)
}

// unanswered is the error of a wait that ended while the store still owed it an answer.
func (c *call) unanswered(pending bool) error {
	e := &Error{name: storeError, call: c.name, pending: pending}
	e.reason = fmt.Sprintf("barrier %q: the store has not answered within %s", c.config.Name,
		time.Since(c.started).Round(time.Millisecond))
	if e.pending {
		e.reason += "; the outcome stands and is delivered later"
	}
	return e
}

// wait waits for a release without taking part.
func (c *call) wait() (jsValue, error) {
	d := c.deadlines()
	c.user.waited()
	s, err := c.openBefore(d.look)
	if err != nil {
		return nil, c.unopened(err)
	}
	phase := c.user.waitPhase(s.OpenPhase)
	if err := c.stepAside(s, phase); err != nil {
		return nil, err
	}
	return c.await(s, phase, core.OutcomeNone, d)
}

// arriveAndWait arrives and waits for the release of the phase of the arrival. With an outcome other than an arrival it
// waits as wait does.
func (c *call) arriveAndWait() (jsValue, error) {
	d := c.deadlines()
	s, err := c.openBefore(d.look)
	if err != nil {
		return nil, c.unopened(err)
	}
	if isOver(c.ctx) {
		return nil, core.ErrEnded
	}
	if err := c.stand(s); err != nil {
		return nil, err
	}
	if phase, ok := c.user.rejoins(c.participant); ok && c.config.Cyclic {
		// The arrival stands. Another one could fall behind a release that comes between. Of a one-shot barrier the core knows
		// what has become of it.
		return c.await(s, phase, core.OutcomeArrived, d)
	}
	request := c.request(core.Arrive)
	request.Limit = d.limit()
	answer, stay, err := s.ArriveAndWait(request, c.participant)
	switch {
	case err != nil:
		return nil, err
	case stay.IsOver():
		return c.answered(s, answer, nil, d)
	}
	c.stay = stay
	if answer.Outcome != core.OutcomeArrived {
		answer, err = c.ownAnswer(s, answer)
		return c.answered(s, answer, err, d)
	}
	c.enter(answer)
	if answer.Acknowledged {
		c.countArrival()
		c.inst.accounted()
	} else {
		s.arrivals.add(s, c)
	}
	result, err := c.await(s, answer.Phase, core.OutcomeArrived, d)
	if other := (*otherAnswer)(nil); errors.As(err, &other) {
		return c.answered(s, other.answer, other.err, d)
	}
	return result, err
}

// ownAnswer waits for the frame of a call that stays for nothing else.
func (c *call) ownAnswer(s *openBarrier, standing core.Answer) (core.Answer, error) {
	select {
	case frame := <-c.stay.Frame():
		return c.stay.Answer(frame)
	case <-c.ctx.Done():
		c.stay.Cancel()
		return standing, core.ErrEnded
	case <-s.Lost():
		return standing, s.LostError()
	}
}

// otherAnswer is what an arrival met with that was not simply acknowledged.
type otherAnswer struct {
	answer core.Answer
	err    error
}

func (o *otherAnswer) Error() string { return "the arrival has another answer" }

// answered goes on with the final answer to an arrival.
func (c *call) answered(s *openBarrier, answer core.Answer, err error, d deadlines) (jsValue, error) {
	c.settle(answer)
	c.at = answer.At
	if err = c.orLate(answer, err); err != nil {
		if answer.Outcome == core.OutcomeArrived {
			c.user.timedOut(answer.Phase, c.participant)
		}
		if core.HasStatus(err, core.Timeout) {
			err = c.unanswered(answer.Outcome != core.OutcomeNone)
		}
		return nil, err
	}
	phase := answer.Phase
	if answer.Outcome == core.OutcomeLeft {
		phase = max(phase, c.user.waitPhase(s.OpenPhase))
	}
	return c.await(s, phase, answer.Outcome, d)
}

// await parks the goroutine until the phase is released, the barrier broken, the time over, or k6 ends the iteration.
func (c *call) await(s *openBarrier, phase uint32, outcome core.Outcome, d deadlines) (jsValue, error) {
	if c.inTurn(outcome) {
		return c.awaitTurn(s, phase, d)
	}
	var woke time.Time
	gate := s.Gate(phase)
	var result *waitResult
	if isClosed(gate) {
		if err := c.opened(s, phase); err != nil {
			return nil, err
		}
		return c.released(s, phase, outcome, woke, nil)
	}
	if c.stay.IsOver() {
		var err error
		if c.stay, err = s.Wait(phase, d.limit()); err != nil {
			return nil, err
		}
	}
	if c.here != nil {
		result = newWaitResult(c.here, waited{release: s.expected(phase), outcome: outcome})
	}
	woke, err := c.sleep(s, phase, gate, d)
	if err != nil {
		return nil, err
	}
	return c.released(s, phase, outcome, woke, result)
}

// sleep returns when the release woke it, or zero where it was found to be released.
func (c *call) sleep(s *openBarrier, phase uint32, gate <-chan struct{}, d deadlines) (time.Time, error) {
	s.joinProgress()
	defer s.leaveProgress()

	select {
	case <-gate:
		return time.Now(), c.opened(s, phase)
	case frame := <-c.stay.Frame():
		return time.Time{}, c.told(s, frame, phase, gate, d)
	case <-c.ctx.Done():
		return time.Time{}, c.interrupted()
	}
}

// opened is nil where the gate that has opened is the answer.
func (c *call) opened(s *openBarrier, phase uint32) error {
	select {
	case frame := <-c.stay.Frame():
		answer, err := c.stay.Answer(frame)
		if core.HasStatus(err, core.Timeout) && answer.Outcome == core.OutcomeNone {
			c.settle(c.arrived) // the time was over just before
			return c.passed(s, phase)
		}
		return c.otherOf(answer, err)
	default:
	}
	err := c.passed(s, phase)
	if err == nil && c.stay.IsOwed() {
		select {
		case frame := <-c.stay.Frame():
			return c.otherOf(c.stay.Answer(frame))
		case <-c.ctx.Done():
			return c.interrupted()
		case <-s.Lost():
			c.settle(c.arrived)
			return s.LostError()
		}
	}
	c.settle(c.arrived) // who is not acknowledged hears of a break by itself
	if err == nil || isClosed(s.Broken()) || isClosed(s.Gone()) {
		c.stay.End()
	}
	c.stay.Cancel()
	return err
}

// otherOf is nil where the answer is the acknowledgement, and where there is no arrival to answer to.
func (c *call) otherOf(answer core.Answer, err error) error {
	switch {
	case c.token == 0 || c.token != c.stay.Token():
		return err
	case err == nil && answer.Outcome == core.OutcomeArrived &&
		answer.Phase == c.arrived.Phase && answer.First == c.arrived.First:
		c.settle(answer)
		return nil
	}
	return &otherAnswer{answer, err}
}

// told goes on where the call's own frame woke it.
func (c *call) told(s *openBarrier, frame core.Frame, phase uint32, gate <-chan struct{}, d deadlines) error {
	answer, err := c.stay.Answer(frame)
	if core.HasStatus(err, core.Timeout) && answer.Outcome == core.OutcomeNone {
		c.settle(c.arrived)
		return c.expire(s, phase, gate, d)
	}
	if err = c.otherOf(answer, err); err != nil {
		return err
	}
	return c.hear(s, phase, gate) // the release came before
}

// interrupted ends the wait because k6 ended the iteration. An arrival stands and counts, unless its answer has just said
// something else.
func (c *call) interrupted() error {
	standing := c.arrived
	select {
	case frame := <-c.stay.Frame():
		answer, err := c.stay.Answer(frame)
		if answer.Outcome != core.OutcomeNone || !core.HasStatus(err, core.Timeout) {
			standing = answer
		}
	default:
		c.stay.Cancel()
	}
	c.settle(standing)
	return core.ErrEnded
}

// passed is nil where a release opened the gate, and otherwise what else did. What was decided first stands.
func (c *call) passed(s *openBarrier, phase uint32) error {
	switch {
	case s.IsReleased(phase):
		return nil
	case isClosed(s.Broken()):
		return c.broken(s)
	case isClosed(s.Gone()):
		return c.gone()
	}
	return s.LostError()
}

// expire takes the last look at the store, which may find the phase released, and does what onTimeout says.
func (c *call) expire(s *openBarrier, phase uint32, gate <-chan struct{}, d deadlines) error {
	request := c.request(core.Expire)
	request.Phase = phase
	limited, cancel := context.WithDeadline(c.ctx, d.look)
	defer cancel()
	_, err := c.submit(limited, s, request, "", "")
	if err == nil { // released, perhaps at an instant that has yet to come
		return c.hear(s, phase, gate)
	}

	var status *core.Error
	switch {
	case isClosed(gate):
		return c.passed(s, phase)
	case c.ctx.Err() != nil:
		return core.ErrEnded
	case errors.Is(err, core.ErrEnded): // the look took too long
		err = &core.Error{Status: core.Store}
	case errors.As(err, &status) && status.Status == core.Timeout:
		return c.timedOut(s, phase, d, nil)
	case errors.As(err, &status) && status.Status == core.Broken:
		return c.broken(s)
	}
	return c.timedOut(s, phase, d, err)
}

// hear waits for the news of a release that the core knows. The core's own record is asked now and then: nobody may wait for
// ever for news that was lost.
func (c *call) hear(s *openBarrier, phase uint32, gate <-chan struct{}) error {
	ask := time.NewTicker(hearsay)
	defer ask.Stop()
	for {
		select {
		case <-gate:
			return c.passed(s, phase)
		case <-ask.C:
			if status, err := s.Status(); err != nil {
				return err
			} else if len(status.Released) > 0 && slices.Max(status.Released) >= phase {
				return nil
			}
		case <-c.ctx.Done():
			return core.ErrEnded
		}
	}
}

// released fills the result of a wait that is over, or makes one where there is none yet.
func (c *call) released(
	s *openBarrier, phase uint32, outcome core.Outcome, woke time.Time, result *waitResult,
) (jsValue, error) {
	c.user.returnedFrom(phase, c.participant, outcome == core.OutcomeNone)
	release := s.Release(phase)
	if release == nil {
		return nil, &Error{
			name: internalError, code: codeOf(core.Empty),
			reason: fmt.Sprintf("phase %d is released, but its record is not kept any more: only the last 16 are", phase),
		}
	}
	w := waited{release: release, outcome: outcome, lasted: time.Since(c.started), turn: c.turn}
	switch {
	case c.turn != nil:
		c.pushTurn(phase, w.lasted)
	case woke.IsZero():
		c.pushWait(phase, w.lasted, nil)
	default:
		after := time.Duration(float64(woke.UnixNano()) - release.ReleasedAt*float64(time.Millisecond))
		s.noteWake(phase, after)
		after = max(0, after)
		c.pushWait(phase, w.lasted, &after)
	}
	return func(rt *sobek.Runtime) sobek.Value {
		if result == nil {
			result = newWaitResult(rt, w)
		}
		return result.tell(w)
	}, nil
}

// timedOut is the error of a wait that expired. It names who is missing; where the last look failed, it is an error of the
// store with the counts that are known here, because the store may have released the phase.
func (c *call) timedOut(s *openBarrier, phase uint32, d deadlines, unasked error) error {
	lasted := time.Since(c.started)
	c.user.timedOut(phase, c.participant)
	c.pushTimeout(phase, lasted)

	e := &Error{name: timeoutError, call: c.name}
	note := ""
	if unasked != nil {
		e = wrapError(c.name, unasked)
		note = "; the store could not be asked any more: " + e.reason
	}
	e.reason = fmt.Sprintf("barrier %q: not released within %s", c.config.Name, lasted.Round(time.Millisecond))
	if d.clamped > 0 {
		limit := "were left until the end of the scenario"
		if c.owner == 0 {
			limit = "k6 allows here, see setupTimeout and teardownTimeout"
		}
		e.reason += fmt.Sprintf(" (kept below the %s that %s)", d.clamped.Round(time.Millisecond), limit)
	}
	if status, err := s.Status(); err == nil {
		e.status = status
		var missing *core.MissingIDs
		if unasked == nil {
			limited, cancel := context.WithDeadline(c.ctx, d.look)
			defer cancel()
			missing = s.missingFor(limited)
		}
		e.reason += ": " + progressText(status, missing)
	}
	e.reason += note
	return e
}

// broken is the error of everyone who waits at a barrier that broke.
func (c *call) broken(s *openBarrier) error {
	e := &Error{name: brokenError, call: c.name}
	e.reason = fmt.Sprintf("barrier %q is broken", c.config.Name)
	if status, err := s.Status(); err == nil {
		e.status = status
		if status.Broken != nil {
			e.reason += fmt.Sprintf(" (%s): %s", status.Broken.Reason, status.Broken.Message)
		}
	}
	return e
}

// late is the error of late: 'error'.
func (c *call) late(phase uint32) error {
	return &Error{
		name: lateError, call: c.name,
		reason: fmt.Sprintf("barrier %q: %s came after the release of phase %d, and late is 'error'",
			c.config.Name, c.participant, phase),
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
