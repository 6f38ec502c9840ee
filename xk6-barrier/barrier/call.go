package barrier

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/grafana/sobek"
	"github.com/sirupsen/logrus"
	"go.k6.io/k6/v2/lib"
	"go.k6.io/k6/v2/metrics"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/script"
)

// call is one call of a script. It holds all that belongs to the virtual user and may only be read on its goroutine, so
// that the call itself may run on any.
type call struct {
	inst        *instance
	config      *config
	user        *user
	name        string
	ctx         context.Context //nolint:containedctx // a call is the lifetime of this context
	state       *lib.State
	tags        metrics.TagsAndMeta
	owner       uint64
	participant string
	explicit    bool
	own         bool // the participant stands for this virtual user
	timeout     time.Duration
	started     time.Time
	here        *sobek.Runtime // where the call runs on the virtual user's goroutine, and so may make values; else nil
	stay        core.Stay      // while it waits
	arrived     core.Answer    // of a call that waits with an arrival: what stands of that; never changed after it was set
	token       uint64         // the same: its number
	before      noted          // the same: what was known of the virtual user before it
	counted     atomic.Bool    // the same: whether it is counted, or is not to be
	at          uint64         // its own instant where that was told at once, in microseconds since the epoch
	turn        *turn          // how it went at that
	settled     bool           // whether its outcome is remembered
}

// begin reads a call's options on the virtual user's goroutine.
func (b *barrierObject) begin(name string, given sobek.Value, takes ...string) (*call, error) {
	state := b.inst.vu.State()
	if state == nil {
		return nil, initContextError(name)
	}
	options, err := b.inst.readCallOptions(given, takes...)
	if err != nil {
		return nil, wrapError(name, err)
	}
	ctx := b.inst.vu.Context()
	c := &call{
		inst: b.inst, config: b.config, user: b.user, name: name,
		ctx: ctx, state: state, tags: state.Tags.GetCurrentValues(), owner: state.VUIDGlobal,
		timeout: b.config.timeout, started: time.Now(),
	}
	if options.timeout != nil {
		c.timeout = *options.timeout
	}
	c.participant, c.explicit = c.user.participant(c.owner)
	c.own = true
	if p := options.participant; p != nil {
		// Where the virtual user has registered, another id is another participant.
		c.own = !c.explicit || p.id == c.participant
		c.participant, c.explicit = p.id, true
	}
	if slices.Contains(takes, "participant") && c.owner == 0 && !c.explicit {
		return nil, wrapError(name, needParticipant())
	}
	return c, nil
}

// task is the call as something to run, whose errors say where they come from.
func (c *call) task(run func() (jsValue, error)) task {
	return task{run: func(here *sobek.Runtime) (jsValue, error) {
		c.here = here
		result, err := run()
		if err != nil && !errors.Is(err, core.ErrEnded) {
			return nil, c.explain(err)
		}
		return result, err
	}}
}

// explain names the call and adds what is known of the barrier.
func (c *call) explain(err error) error {
	e := wrapError(c.name, err)
	if e.status == nil {
		if s := c.config.opened(c.inst.root); s != nil {
			e.status, _ = s.Status()
		}
	}
	return e
}

// request is an operation of this call's participant.
func (c *call) request(kind core.Kind) core.Request {
	r := core.Request{Owner: c.owner, Kind: kind}
	if c.explicit {
		r.Flags |= core.Explicit
	}
	return r
}

// submit carries out an operation, unless the iteration is over.
func (c *call) submit(ctx context.Context, s *openBarrier, request core.Request, participant, reason string) (core.Answer, error) {
	if isOver(c.ctx) {
		return core.Answer{}, core.ErrEnded
	}
	return s.Do(ctx, request, participant, reason)
}

// do carries out an operation on an outcome, counts it and remembers it. A store that did not answer changes nothing of
// that: the outcome stands and is delivered later.
func (c *call) do(s *openBarrier, kind core.Kind, reason string) (core.Answer, error) {
	if err := c.stand(s); err != nil {
		return core.Answer{}, err
	}
	answer, err := c.submit(c.ctx, s, c.request(kind), c.participant, reason)
	if answer.First && answer.Outcome == core.OutcomeFailed {
		answer.Reason = reason
	}
	if answer.Outcome != core.OutcomeNone {
		c.pushOutcome(answer, answer.Reason)
		if c.own || kind == core.Arrive {
			c.user.record(answer, c.participant)
			c.inst.accounted()
		}
	}
	return answer, c.orLate(answer, err)
}

// orLate is the error of a call that came late where late is 'error'.
func (c *call) orLate(answer core.Answer, err error) error {
	if err == nil && answer.Outcome == core.OutcomeLate && c.config.Late == "error" {
		return c.late(answer.Phase)
	}
	return err
}

// outcome is arrive, fail and leave.
func (c *call) outcome(kind core.Kind, reason string) (jsValue, error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	answer, err := c.do(s, kind, reason)
	if err != nil {
		return nil, err
	}
	return func(rt *sobek.Runtime) sobek.Value { return outcomeValue(rt, answer) }, nil
}

func (c *call) missing(limit uint32) (jsValue, error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	missing, err := s.Barrier.Missing(c.ctx, limit)
	if err != nil {
		return nil, err
	}
	return func(rt *sobek.Runtime) sobek.Value {
		ids := make([]any, len(missing.IDs))
		for at, id := range missing.IDs {
			ids[at] = id
		}
		return script.NewData(rt).Put("count", missing.Count).Put("ids", rt.NewArray(ids...)).Object
	}, nil
}

func (c *call) abort(why string) (jsValue, error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	answer, err := c.submit(c.ctx, s, c.request(core.Abort), "", why)
	if err != nil {
		return nil, err
	}
	broken := answer.Outcome == core.OutcomeBroken
	log := c.inst.root.logger.WithFields(logrus.Fields{"barrier": c.config.Name})
	if broken {
		log.Warnf("barrier %q: aborted: %s", c.config.Name, why)
	} else {
		log.Warnf("barrier %q: abort did nothing, because it was released before", c.config.Name)
	}
	return func(rt *sobek.Runtime) sobek.Value {
		return script.NewData(rt).Put("broken", broken).Put("phase", answer.Phase).Object
	}, nil
}
