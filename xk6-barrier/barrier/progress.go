package barrier

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/wording"
)

const (
	// progressEvery is the time between two lines of progress of a barrier.
	progressEvery = 5 * time.Second
	// shownMissing is how many missing participants a message names.
	shownMissing = 10
)

// progress reports now and then how a barrier fares while someone waits at it, once per process. Ten thousand who wake
// at once must not queue up for a lock, so that only the first and the last one take it.
type progress struct {
	waiting atomic.Int64
	mu      sync.Mutex
	stop    chan struct{} // nil while nobody reports
}

// joinProgress counts a waiter; the first one starts the reports.
func (s *openBarrier) joinProgress() {
	if s.progress.waiting.Add(1) != 1 {
		return
	}
	s.progress.mu.Lock()
	defer s.progress.mu.Unlock()
	if s.progress.stop == nil {
		s.progress.stop = make(chan struct{})
		go s.reportProgress(s.progress.stop)
	}
}

// leaveProgress takes a waiter off; the last one ends the reports.
func (s *openBarrier) leaveProgress() {
	if s.progress.waiting.Add(-1) != 0 {
		return
	}
	s.progress.mu.Lock()
	defer s.progress.mu.Unlock()
	// Someone may have come since; whoever leaves last finds nobody.
	if s.progress.waiting.Load() == 0 && s.progress.stop != nil {
		close(s.progress.stop)
		s.progress.stop = nil
	}
}

func (s *openBarrier) reportProgress(stop <-chan struct{}) {
	ticker := time.NewTicker(s.root.progressEvery)
	defer ticker.Stop()
	said := false
	for {
		select {
		case <-ticker.C:
			if line, err := s.describeProgress(context.Background()); err == nil {
				s.root.logger.Infof("barrier %q: %s", s.config.Name, line)
				said = true
			}
		case <-s.Lost():
			return
		case <-stop:
			if line := s.describeEnd(); said && line != "" {
				s.root.logger.Infof("barrier %q: %s", s.config.Name, line)
			}
			return
		}
	}
}

// describeProgress is the counts and who is missing, or that the users of a release are going, or will.
func (s *openBarrier) describeProgress(ctx context.Context) (string, error) {
	if left := s.turnsLeft(); left > 0 {
		return fmt.Sprintf("%s; the last of them goes in about %s", s.describeEnd(), left.Round(time.Second)), nil
	}
	status, err := s.Status()
	if err != nil {
		return "", err
	}
	if coming := status.Coming; coming != nil { // whoever arrives now is of the next phase
		left := time.Until(time.UnixMicro(int64(coming.ReleasedAt * 1000)))
		return fmt.Sprintf("%s; they go in about %s", releaseText(coming), left.Round(time.Second)), nil
	}
	return progressText(status, s.missingFor(ctx)), nil
}

// describeEnd is how the newest phase was released, or nothing where it was not.
func (s *openBarrier) describeEnd() string {
	status, err := s.Status()
	if err != nil {
		return ""
	}
	if status.Broken != nil {
		return "broken: " + status.Broken.Message
	}
	if len(status.Released) == 0 {
		return ""
	}
	release := s.Release(slices.Max(status.Released))
	if release == nil {
		return ""
	}
	return releaseText(release)
}

// releaseText is `released (all): 9,997 of 10,000 arrived, 3 failed (login 3)`.
func releaseText(release *core.Release) string {
	return fmt.Sprintf("released (%s): %s", release.Reason,
		wording.Counts(release.Arrived, release.Parties, release.FailedTotal, release.Failed, release.Left))
}

// progressText is `8,412 of 10,000 arrived, 3 failed (login 3), missing 17, 42, …`.
func progressText(status *core.BarrierStatus, missing *core.MissingIDs) string {
	text := wording.Counts(status.Arrived, status.Parties, status.FailedTotal, status.Failed, status.Left)
	count := status.Missing()
	if count == 0 {
		return text
	}
	if missing == nil || len(missing.IDs) == 0 {
		return text + ", " + wording.Grouped(count) + " missing" // a number after the word is an id
	}
	text += ", missing " + strings.Join(missing.IDs[:min(len(missing.IDs), shownMissing)], ", ")
	if missing.Count > shownMissing {
		text += ", …"
	}
	return text
}
