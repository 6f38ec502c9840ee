package hdrlog

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestThePageHasEachParameterAndItsDefault(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/how-to/keep-values-over-time.md")
	require.NoError(t, err)
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `\\w+` \\| `(K6_HDRLOG_[A-Z]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, row[1])
	}
	slices.Sort(listed)
	assert.Equal(t, variables(), listed)
	for _, row := range []string{
		fmt.Sprintf("| `interval` | `K6_HDRLOG_INTERVAL` | `%s` |", defaultInterval),
		fmt.Sprintf("| `series` | `K6_HDRLOG_SERIES` | `%d` |", defaultSeries),
		"| `tags` | `K6_HDRLOG_TAGS` | `scenario` |",
	} {
		assert.Contains(t, string(page), row)
	}
}
