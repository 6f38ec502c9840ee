package barrier

import (
	"slices"

	"github.com/grafana/sobek"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

const (
	// keptConfigs is how many checked options are shared at most.
	keptConfigs = 1000
	// keptRefusals is how many barriers that cannot be opened are remembered at most.
	keptRefusals = 1000
)

// isOver reports whether nobody can wait at the barrier any more.
func (s *openBarrier) isOver() bool {
	return isClosed(s.Gone()) || isClosed(s.Broken()) || !s.config.Cyclic && s.IsReleased(0)
}

// sweep clears away what belongs to barriers that the core has forgotten: how many that are over are remembered is its to
// decide.
func (r *RootModule) sweep() {
	r.shared.Range(func(handle, found any) bool {
		if s := found.(*openBarrier); isClosed(s.Gone()) { //nolint:forcetypeassert // the map holds nothing else
			r.shared.Delete(handle)
			r.unaccounted.Delete(s.config.identity)
		}
		return true
	})
	var refused []any
	r.opens.Range(func(key, found any) bool {
		o := found.(*opening) //nolint:forcetypeassert // the map holds nothing else
		switch {
		case o.isGone():
			r.opens.CompareAndDelete(key, found)
		case isClosed(o.done) && o.err != nil:
			refused = append(refused, key)
		}
		return true
	})
	if len(refused) > keptRefusals {
		for _, key := range refused {
			r.opens.Delete(key)
		}
	}
	r.watch.remove(func(c *config) bool {
		s := c.opened(r)
		return s != nil && s.isOver()
	})
}

// remove takes barriers off whose participants nobody has to account for any more.
func (w *watch) remove(unneeded func(*config) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.barriers = slices.DeleteFunc(w.barriers, unneeded)
}

// forgetsAt reports whether the virtual user needs to remember nothing of the barrier: it is over.
func (u *user) forgetsAt(r *RootModule) bool {
	if found, open := r.shared.Load(u.turnedTo()); open {
		return found.(*openBarrier).isOver() //nolint:forcetypeassert // the map holds nothing else
	}
	s := u.config.opened(r)
	return s != nil && s.isOver() || s == nil && u.turnedTo() != 0
}

// close lets go of the barrier in this process.
func (b *barrierObject) close(name string, _ sobek.FunctionCall) task {
	c, err := b.begin(name, nil)
	if err != nil {
		return failedTask(err)
	}
	return c.task(c.close)
}

func (c *call) close() (jsValue, error) {
	root := c.inst.root
	if s := c.config.opened(root); s != nil {
		// Whoever was released and has yet to wake cannot ask any more.
		if status, err := s.Status(); err == nil && len(status.Released) > 0 {
			s.Release(slices.Max(status.Released))
		}
		_, err := c.submit(c.ctx, s, c.request(core.Close), "", "")
		if err != nil && !core.HasStatus(err, core.Closed) { // somebody else was faster
			return nil, err
		}
		select {
		case <-s.Gone():
		case <-s.Lost():
			return nil, s.LostError()
		case <-c.ctx.Done():
			return nil, core.ErrEnded
		}
		root.watch.remove(func(other *config) bool {
			// Unless somebody has opened it again meanwhile.
			return other.identity == c.config.identity && other.opened(root) == nil
		})
		root.sweep()
	}
	return func(*sobek.Runtime) sobek.Value { return sobek.Undefined() }, nil
}

// gone is the error of whoever waits at a barrier that the process lets go of.
func (c *call) gone() error {
	return &core.Error{
		Status:  core.Closed,
		Message: "the barrier is closed in this process; whoever uses it again opens it anew",
	}
}
