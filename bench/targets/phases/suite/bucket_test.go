package suite

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func bucket(t *testing.T) *Bucket {
	t.Helper()
	made, err := NewBucket(2, 3, start)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestBurstIsLetThroughAndNoMore(t *testing.T) {
	b := bucket(t)
	for taken := range 4 {
		if b.Take(start) != (taken < 3) {
			t.Fatalf("take %d", taken)
		}
	}
	if b.Wait() != time.Second/2 {
		t.Fatalf("wait of %v", b.Wait())
	}
}

func TestTokensComeAtTheRateAndNotBeyondTheSize(t *testing.T) {
	b := bucket(t)
	for range 3 {
		b.Take(start)
	}
	if b.Take(start.Add(400 * time.Millisecond)) {
		t.Fatal("a token came too early")
	}
	if !b.Take(start.Add(500 * time.Millisecond)) {
		t.Fatal("no token came")
	}
	if b.Take(start) {
		t.Fatal("a clock that went back gave one")
	}
	for taken := range 4 {
		if b.Take(start.Add(time.Hour)) != (taken < 3) {
			t.Fatalf("take %d after an hour", taken)
		}
	}
	if bucket(t).Wait() != 0 {
		t.Fatal("a full bucket makes nobody wait")
	}
}

func TestImpossibleBucketsAreRefused(t *testing.T) {
	for _, size := range []float64{0, 0.5} {
		if _, err := NewBucket(1, size, start); err == nil || !strings.Contains(err.Error(), "at least 1") {
			t.Fatalf("size %g: %v", size, err)
		}
	}
}

// With the file FLAKY, which counts the runs, every tenth of them fails: so that a gate can be shown to notice it.
func TestFlakyOnDemand(t *testing.T) {
	file := os.Getenv("FLAKY")
	if file == "" {
		return
	}
	text, _ := os.ReadFile(file)
	runs, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	if err := os.WriteFile(file, []byte(strconv.Itoa(runs+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if runs%10 == 9 {
		t.Fatal("this is every tenth run")
	}
}
