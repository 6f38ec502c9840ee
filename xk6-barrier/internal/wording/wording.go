// Package wording puts a barrier's counts into words, alike in the log of a test and in the operator's view.
package wording

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Counts is `8,412 of 10,000 arrived, 3 failed (login 2, sse 1), 1 left`.
func Counts(arrived, parties, failedTotal uint64, failed map[string]uint64, left uint64) string {
	text := Grouped(arrived) + " of " + Grouped(parties) + " arrived"
	if failedTotal > 0 {
		text += ", " + Grouped(failedTotal) + " failed (" + Reasons(failed) + ")"
	}
	if left > 0 {
		text += ", " + Grouped(left) + " left"
	}
	return text
}

// Reasons lists the reasons that occurred, the most frequent first.
func Reasons(failed map[string]uint64) string {
	var reasons []string
	for reason, n := range failed {
		if n > 0 {
			reasons = append(reasons, reason)
		}
	}
	slices.SortFunc(reasons, func(a, b string) int {
		return cmp.Or(cmp.Compare(failed[b], failed[a]), strings.Compare(a, b))
	})
	for i, reason := range reasons {
		reasons[i] = reason + " " + Grouped(failed[reason])
	}
	return strings.Join(reasons, ", ")
}

// Grouped is a number with a comma after every third digit.
func Grouped(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}
