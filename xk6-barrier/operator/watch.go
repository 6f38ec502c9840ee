package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

const leastInterval = 100 * time.Millisecond

func (s *settings) watchCommand() *cobra.Command {
	interval := time.Second
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Follow barriers and groups until all of them are over",
		Long: `Follows barriers until all of them are released, broken or gone, and groups until their processes
have gone, or until it is interrupted. A release whose instant lies ahead, or whose users go one after
the other, is followed until the last of them has gone.
Where there is none yet it waits for one. On a terminal it keeps a table up to date; elsewhere
it prints a line for each change, with --json as one JSON object.`,
		Args: cobra.NoArgs,
		RunE: s.operate(func(ctx context.Context, o *core.Operator) error {
			if interval < leastInterval {
				return fmt.Errorf("--interval is %s, it has to be at least %s", interval, leastInterval)
			}
			w := &watch{settings: s, known: map[string]string{}}
			return w.run(ctx, o, interval)
		}),
	}
	cmd.Flags().DurationVar(&interval, "interval", interval, "time between two looks")
	return cmd
}

// watch is one run of the command.
type watch struct {
	*settings

	known  map[string]string // by barrier: what was printed of it last
	drawn  int               // lines of the table on the terminal
	seen   bool              // there was a barrier
	silent bool              // the store does not answer, and the user knows
}

func (w *watch) run(ctx context.Context, o *core.Operator, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for first := true; ; first = false {
		barriers, _, err := w.found(ctx, o, searched)
		var groups []core.GroupSight
		if err == nil {
			groups, _, err = w.groups(ctx, o, searched)
		}
		switch {
		case ctx.Err() != nil:
			return nil // interrupted, which is how most watches end
		case err != nil && (first || !isStoreError(err)):
			return err
		case err != nil:
			if !w.silent {
				_, _ = fmt.Fprintf(w.host.err, "%s; trying again\n", err)
			}
			w.silent = true
		default:
			w.silent = false
			if first && len(barriers)+len(groups) == 0 && !w.json {
				w.say("%s yet%s; waiting for one", nobodyNow, w.narrowed())
			}
			if err := w.show(barriers, groups); err != nil {
				return err
			}
			w.seen = w.seen || len(barriers)+len(groups) > 0
			if w.seen && over(barriers) && allGone(groups) {
				return nil
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func isStoreError(err error) bool {
	var failed *core.Error
	return errors.As(err, &failed) && failed.Status == core.Store
}

// over tells whether nothing can happen any more at these barriers: all are released or broken, and nobody waits for an instant.
func over(barriers []core.Sight) bool {
	for i := range barriers {
		b := &barriers[i]
		if at, _ := ahead(b); b.State == core.StateOpen || at != nil {
			return false
		}
	}
	return true
}

func (w *watch) show(barriers []core.Sight, groups []core.GroupSight) error {
	if w.host.redraws && !w.json {
		w.redraw(barriers, groups)
		return nil
	}
	gone := make(map[string]bool, len(w.known))
	for id := range w.known {
		gone[id] = true
	}
	for i := range barriers {
		id := barriers[i].RunID + " " + barriers[i].Name
		delete(gone, id)
		text, err := w.change(&barriers[i])
		if err != nil {
			return err
		}
		if w.known[id] == text {
			continue
		}
		w.known[id] = text
		if w.json {
			if err := w.print(barriers[i]); err != nil {
				return err
			}
			continue
		}
		w.stamped(text)
	}
	for at := range groups {
		delete(gone, "groups "+groups[at].RunID+" "+groups[at].Name)
	}
	if err := w.showGroups(groups); err != nil {
		return err
	}
	for id := range gone {
		delete(w.known, id)
		if !w.json {
			w.stamped(id + ": gone")
		}
	}
	return nil
}

// change is what of a barrier makes a new line when it changes.
func (w *watch) change(b *core.Sight) (string, error) {
	if !w.json {
		return line(b), nil
	}
	// What changes with every heartbeat is no news.
	still := *b
	still.Now, still.HeardAt, still.TTLMs = 0, nil, nil
	text, err := json.Marshal(still)
	return string(text), err
}

func (w *watch) stamped(text string) {
	w.say("%s %s", w.host.now().Format(time.TimeOnly), text)
}

// redraw puts the table where it was before.
func (w *watch) redraw(barriers []core.Sight, groups []core.GroupSight) {
	if len(barriers)+len(groups) == 0 && w.drawn == 0 {
		return
	}
	text := ""
	if len(barriers) > 0 || len(groups) == 0 {
		text = table(barriers)
	}
	if len(groups) > 0 {
		text += groupTable(groups)
	}
	lines := strings.Count(text, "\n")
	if w.drawn > 0 {
		text = fmt.Sprintf("\x1b[%dA\x1b[J", w.drawn) + text
	}
	w.drawn = lines
	_, _ = fmt.Fprint(w.host.out, strings.TrimSuffix(text, "\n")+"\n")
}
