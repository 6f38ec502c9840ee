package operator

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/wording"
)

// groups gives the groups that the flags leave over.
func (s *settings) groups(ctx context.Context, o *core.Operator, limit uint32) (groups []core.GroupSight, complete bool, err error) {
	listed, complete, err := o.Groups(ctx, s.runID, limit)
	for _, g := range listed {
		if s.name == "" || g.Name == s.name {
			groups = append(groups, g)
		}
	}
	return groups, complete, err
}

// groupTable is one line per name below a head.
func groupTable(groups []core.GroupSight) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "RUN\tGROUPS\tSIZE\tFORMED\tWAITING\tPROCESSES")
	for _, g := range groups {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", g.RunID, g.Name, wording.Grouped(g.Size), wording.Grouped(g.Groups),
			waitingOf(&g), g.Processes)
	}
	_ = w.Flush()
	return text.String()
}

// waitingOf is how many wait, and the first of them.
func waitingOf(g *core.GroupSight) string {
	text := wording.Grouped(g.Waiting)
	if len(g.WaitingIDs) == 0 {
		return text
	}
	text += " (" + strings.Join(g.WaitingIDs, ", ")
	if uint64(len(g.WaitingIDs)) < g.Waiting {
		text += ", …"
	}
	return text + ")"
}

// groupLine is groups in one line, without times.
func groupLine(g *core.GroupSight) string {
	text := fmt.Sprintf("%s %s: groups of %s: %s formed, %s waiting", g.RunID, g.Name, wording.Grouped(g.Size),
		wording.Grouped(g.Groups), waitingOf(g))
	if g.Processes == 0 {
		text += ", all processes have gone"
	}
	return text
}

// showGroups prints what has changed of groups.
func (w *watch) showGroups(groups []core.GroupSight) error {
	for at := range groups {
		g := &groups[at]
		id, text := "groups "+g.RunID+" "+g.Name, groupLine(g)
		if w.known[id] == text {
			continue
		}
		w.known[id] = text
		if w.json {
			if err := w.print(g); err != nil {
				return err
			}
			continue
		}
		w.stamped(text)
	}
	return nil
}

// allGone tells whether nobody can join these groups any more.
func allGone(groups []core.GroupSight) bool {
	for _, g := range groups {
		if g.Processes > 0 {
			return false
		}
	}
	return true
}

// listed is what list prints as JSON.
func listed(barriers []core.Sight, groups []core.GroupSight, complete bool) any {
	return struct {
		Barriers []core.Sight      `json:"barriers"`
		Groups   []core.GroupSight `json:"groups"`
		Complete bool              `json:"complete"`
	}{append([]core.Sight{}, barriers...), append([]core.GroupSight{}, groups...), complete}
}

// groupDetails is all of groups.
func groupDetails(g *core.GroupSight) string {
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, "groups %q of run %s\n", g.Name, g.RunID)
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"size", wording.Grouped(g.Size)},
		{"formed", wording.Grouped(g.Groups)},
		{"waiting", waitingOf(g)},
		{"processes", fmt.Sprintf("%d, last heard %s", g.Processes, ago(g.HeardAt, g.Now))},
		{"expires", expires(g.TTLMs)},
	} {
		if row[1] != "" {
			_, _ = fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
		}
	}
	_ = w.Flush()
	return text.String()
}
