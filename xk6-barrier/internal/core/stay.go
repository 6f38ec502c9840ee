package core

// Stay is a call that waits at a gate. The gate opens for all who wait there; what concerns this call alone comes as a frame:
// that it is late or a conflict, that its time is over, that it broke, or the acknowledgement of its arrival where the release
// came first.
type Stay struct {
	client *Client
	waiter *waiter
	token  uint64
}

// ArriveAndWait arrives and begins to wait for the release of the phase of the arrival. Where the answer does not stay, it is
// final, and the gate of its phase opens without more ado. Else the call stays, with what stands so far: for its own frame
// alone where that is no arrival.
func (b *Barrier) ArriveAndWait(request Request, participant string) (Answer, Stay, error) {
	request.Flags |= andWait
	return b.stay(request, participant)
}

// Wait begins to wait for the release of a phase. Where the call does not stay, the gate opens without more ado.
func (b *Barrier) Wait(phase uint32, limit Limit) (Stay, error) {
	_, stay, err := b.stay(Request{Kind: Wait, Phase: phase, Limit: limit}, "")
	return stay, err
}

// WaitInTurn begins to wait for the own instant of a participant that has arrived in a phase whose release is spread. Where the
// answer does not stay, its instant is told, or the gate opens without more ado.
func (b *Barrier) WaitInTurn(phase uint32, participant string, limit Limit) (Answer, Stay, error) {
	return b.stay(Request{Kind: Wait, Phase: phase, Limit: limit}, participant)
}

func (b *Barrier) stay(request Request, participant string) (Answer, Stay, error) {
	request.Handle = b.handle
	c := b.client
	token, w := c.tokens.reserve()
	var frame Frame
	status := c.engine.Submit(&request, token, participant, "", &frame)
	frame.Token, frame.Status = token, status
	if status == Pending {
		frame.Status = OK
		answer, _ := answerOf(frame, nil, nil)
		answer.Acknowledged = frame.Flags&Acknowledged != 0
		return answer, Stay{client: c, waiter: w, token: token}, nil
	}
	c.tokens.forget(token, w)
	answer, err := answerOf(c.completed(frame))
	return answer, Stay{}, err
}

// IsOver reports whether there is nothing to wait for but the gate.
func (s *Stay) IsOver() bool { return s.waiter == nil }

// Token is the call's number.
func (s *Stay) Token() uint64 { return s.token }

// Frame is where the call's own frame comes, if one does.
func (s *Stay) Frame() <-chan Frame {
	if s.waiter == nil {
		return nil
	}
	return s.waiter.frame
}

// IsOwed reports whether the call's own frame is to be waited for although its gate has opened.
func (s *Stay) IsOwed() bool { return s.waiter != nil && s.waiter.owed.Load() }

// Answer ends the stay by the frame that it received.
func (s *Stay) Answer(frame Frame) (Answer, error) {
	s.client.tokens.release(s.waiter)
	s.waiter = nil
	return answerOf(s.client.completed(frame))
}

// End ends the stay at an open gate: no frame comes any more.
func (s *Stay) End() {
	if s.waiter != nil {
		s.client.tokens.forget(s.token, s.waiter)
		s.waiter = nil
	}
}

// Cancel ends the stay, whatever comes.
func (s *Stay) Cancel() {
	if s.waiter != nil {
		s.client.engine.Cancel(s.token)
		s.End()
	}
}

// Arrivals tells for each of these calls what has become of its arrival.
func (b *Barrier) Arrivals(tokens []uint64) []Arrival {
	arrivals := make([]Arrival, len(tokens))
	if b.client.engine.Arrivals(b.handle, tokens, arrivals) != OK {
		for at := range arrivals {
			arrivals[at] = ArrivalOver
		}
	}
	return arrivals
}
