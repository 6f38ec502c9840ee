package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/wording"
)

const (
	// searched is among how many barriers a command looks for the one that is meant.
	searched    = 1000
	mostLimit   = 10_000
	mostMissing = 1000
)

func (s *settings) listCommand() *cobra.Command {
	var limit uint32
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the barriers and groups of the store",
		Args:  cobra.NoArgs,
		RunE: s.operate(func(ctx context.Context, o *core.Operator) error {
			if limit < 1 || limit > mostLimit {
				return fmt.Errorf("--limit is %d, it has to be from 1 to %d", limit, mostLimit)
			}
			barriers, complete, err := s.found(ctx, o, limit)
			if err != nil {
				return err
			}
			groups, allGroups, err := s.groups(ctx, o, limit)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(listed(barriers, groups, complete && allGroups))
			}
			switch {
			case len(barriers) > 0:
				_, _ = fmt.Fprint(s.host.out, table(barriers))
			case len(groups) == 0:
				s.say("%s%s", nobodyNow, s.narrowed())
				return nil
			}
			if len(groups) > 0 {
				_, _ = fmt.Fprint(s.host.out, groupTable(groups))
			}
			if !complete || !allGroups {
				s.say("there are more; --run-id narrows the list, --limit prolongs it")
			}
			return nil
		}),
	}
	cmd.Flags().Uint32Var(&limit, "limit", 100, "how many barriers at most")
	return cmd
}

func (s *settings) statusCommand() *cobra.Command {
	var missing uint32
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show one barrier, or the groups of one name: who arrived, who failed and why, who is missing",
		Args:  cobra.NoArgs,
		RunE: s.operate(func(ctx context.Context, o *core.Operator) error {
			if missing > mostMissing {
				return fmt.Errorf("--missing is %d, it has to be from 0 to %d", missing, mostMissing)
			}
			groups, _, err := s.groups(ctx, o, searched)
			if err != nil {
				return err
			}
			barriers, _, err := s.found(ctx, o, searched)
			if err == nil && len(barriers) == 0 && len(groups) > 0 {
				if len(groups) > 1 {
					return fmt.Errorf("several groups%s: %s; name one by --run-id and --name", s.narrowed(), namesOfGroups(groups))
				}
				if s.json {
					return s.print(groups[0])
				}
				_, _ = fmt.Fprint(s.host.out, groupDetails(&groups[0]))
				return nil
			}
			sight, err := s.one(ctx, o, missing)
			if err != nil {
				return err
			}
			if s.json {
				return s.print(sight)
			}
			_, _ = fmt.Fprint(s.host.out, details(sight))
			for at := range groups { // a barrier and groups may have one name
				if g := &groups[at]; g.RunID == sight.RunID && g.Name == sight.Name {
					_, _ = fmt.Fprint(s.host.out, groupDetails(g))
				}
			}
			return nil
		}),
	}
	cmd.Flags().Uint32Var(&missing, "missing", 10, "how many of those who are missing to name")
	return cmd
}

func (s *settings) print(value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.host.out, "%s\n", text)
	return err
}

func (s *settings) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.host.out, format+"\n", args...)
}

// table is one line per barrier below a head.
func table(barriers []core.Sight) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "RUN\tBARRIER\tSTATE\tPHASE\tEXPECTED\tARRIVED\tFAILED\tLEFT\tLATE\tMISSING\tSINCE")
	for i := range barriers {
		b := &barriers[i]
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", b.RunID, b.Name, stateOf(b), b.Phase,
			wording.Grouped(b.Parties), wording.Grouped(b.Arrived), failures(b), wording.Grouped(b.Left),
			wording.Grouped(b.Late), wording.Grouped(b.Missing), ago(b.Since, b.Now))
	}
	_ = w.Flush()
	return text.String()
}

// stateOf is the state with its reason.
func stateOf(b *core.Sight) string {
	switch {
	case b.State == core.StateReleased && b.NewestRelease != nil:
		return fmt.Sprintf("released (%s)", b.NewestRelease.Reason)
	case b.State == core.StateBroken && b.Broken != nil:
		return fmt.Sprintf("broken (%s)", b.Broken.Reason)
	}
	return b.State
}

func failures(b *core.Sight) string {
	if b.FailedTotal == 0 {
		return "0"
	}
	return fmt.Sprintf("%s (%s)", wording.Grouped(b.FailedTotal), wording.Reasons(b.Failed))
}

// ago is how long before the other an instant was, or will be after it, in whole seconds.
func ago(then *float64, now float64) string {
	if then == nil {
		return "unknown"
	}
	apart := (time.Duration(math.Abs(now-*then)/1000) * time.Second).String()
	if *then > now {
		return "in " + apart
	}
	return apart + " ago"
}

// since says when the barrier came to be as it is. A release whose instant lies ahead is decided, but nobody has gone.
func since(b *core.Sight) string {
	word := "since"
	if b.Since != nil && *b.Since > b.Now {
		word = "begins"
		if b.State == core.StateReleased {
			word = "goes"
		}
	}
	return word + " " + ago(b.Since, b.Now)
}

// ahead is the next instant of the newest release: that of all, or of the last of those who go one after the other. It is nil where
// all have gone.
func ahead(b *core.Sight) (at *float64, last bool) {
	r := b.NewestRelease
	switch {
	case r == nil || b.State == core.StateBroken:
	case r.At > b.Now:
		return &r.At, false
	case r.LastAt != nil && *r.LastAt > b.Now:
		return r.LastAt, true
	}
	return nil, false
}

// details is all of one barrier.
func details(b *core.Sight) string {
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, "barrier %q of run %s\n", b.Name, b.RunID)
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "  %s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("state", "%s, phase %d, %s", stateOf(b), b.Phase, since(b))
	if b.Broken != nil {
		row("why", "%s", b.Broken.Message)
	}
	row("expected", "%s", wording.Grouped(b.Parties))
	if b.Quorum != nil {
		row("released at", "%s arrivals", wording.Grouped(*b.Quorum))
	}
	row("arrived", "%s", wording.Grouped(b.Arrived))
	row("failed", "%s", failures(b))
	row("left", "%s", wording.Grouped(b.Left))
	row("late", "%s", wording.Grouped(b.Late))
	row("missing", "%s", missing(b))
	if r := b.NewestRelease; r != nil && b.Cyclic {
		row("last release", "phase %d (%s), %s", r.Phase, r.Reason, ago(&r.At, b.Now))
	}
	if r := b.NewestRelease; r != nil && r.LastAt != nil && *r.LastAt > b.Now {
		row("last user", "goes %s", ago(r.LastAt, b.Now))
	}
	row("processes", "%d, last heard %s", b.Processes, ago(b.HeardAt, b.Now))
	if text := expires(b.TTLMs); text != "" {
		row("expires", "%s", text)
	}
	_ = w.Flush()
	return text.String()
}

// expires is when a record goes; empty where it has no life.
func expires(ttlMs *int64) string {
	if ttlMs == nil {
		return ""
	}
	return fmt.Sprintf("in %s, if nobody writes", time.Duration(*ttlMs/1000)*time.Second)
}

func missing(b *core.Sight) string {
	text := wording.Grouped(b.Missing)
	if len(b.MissingIDs) == 0 {
		return text
	}
	text += ": " + strings.Join(b.MissingIDs, ", ")
	if uint64(len(b.MissingIDs)) < b.Missing {
		text += ", …"
	}
	return text
}

// line is a barrier in one line, without times that go on.
func line(b *core.Sight) string {
	text := wording.Counts(b.Arrived, b.Parties, b.FailedTotal, b.Failed, b.Left)
	if b.State == core.StateOpen && b.Missing > 0 {
		text += ", " + wording.Grouped(b.Missing) + " missing"
	}
	if b.Late > 0 {
		text += ", " + wording.Grouped(b.Late) + " late"
	}
	if b.Cyclic {
		text = fmt.Sprintf("phase %d: %s", b.Phase, text)
	}
	goes := ""
	if at, last := ahead(b); at != nil {
		goes = "all go at "
		if last {
			goes = "the last user goes at "
		}
		goes += time.UnixMilli(int64(math.Ceil(*at))).UTC().Format(time.RFC3339)
	}
	switch b.State {
	case core.StateOpen:
		if goes != "" {
			text += fmt.Sprintf("; of phase %d %s", b.NewestRelease.Phase, goes)
		}
	case core.StateReleased:
		state := stateOf(b)
		if goes != "" {
			state += ", " + goes
		}
		text = state + ": " + text
	case core.StateBroken:
		if b.Broken != nil {
			text = "broken: " + b.Broken.Message + "; " + text
		}
	}
	return fmt.Sprintf("%s %s: %s", b.RunID, b.Name, text)
}
