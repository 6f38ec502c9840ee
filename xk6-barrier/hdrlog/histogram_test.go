package hdrlog

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"io"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unpacked is what is compressed in an encoded histogram.
func unpacked(t *testing.T, text []byte) []byte {
	t.Helper()
	packed, err := base64.StdEncoding.DecodeString(string(text))
	require.NoError(t, err)
	reader, err := zlib.NewReader(bytes.NewReader(packed[8:]))
	require.NoError(t, err)
	plain, err := io.ReadAll(reader)
	require.NoError(t, err)
	return plain
}

func TestHistogramsAreThoseOfHdrHistogram(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // a test
	worlds := [][]int64{
		{0}, {1}, {hour}, {highest}, {0, highest}, {2047, 2048, 2049}, {4095, 4096, 4097}, {0, 2}, {1, 2, 3, 3, 3},
	}
	for range 300 { // of all sizes and magnitudes
		values := make([]int64, 1+random.IntN(3000))
		most := math.Exp(random.Float64() * math.Log(hour))
		for i := range values {
			values[i] = int64(random.Float64() * random.Float64() * most)
		}
		worlds = append(worlds, values)
	}
	e := &encoder{} // the same for all: nothing is left of the one before
	for _, values := range worlds {
		text, err := e.encode(values)
		require.NoError(t, err)
		top := int64(hour)
		for _, value := range values {
			if value > hour {
				top = highest
			}
		}
		theirs := hdrhistogram.New(1, top, significantDigits)
		for _, value := range values {
			require.NoError(t, theirs.RecordValue(value))
		}
		wanted, err := theirs.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		require.NoError(t, err)
		require.Equal(t, unpacked(t, wanted), unpacked(t, text), "%v", values[:min(len(values), 10)])
		read, err := hdrhistogram.Decode(text)
		require.NoError(t, err)
		require.True(t, theirs.Equals(read))
	}
}

// Which level is worth its time: sizes hardly differ.
func TestCompressionIsNotMuchWorseThanTheBest(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // a test
	values := make([]int64, 5000)
	for i := range values {
		values[i] = int64(math.Exp(random.NormFloat64()) * 20_000)
	}
	text, err := (&encoder{}).encode(values)
	require.NoError(t, err)
	theirs := hdrhistogram.New(1, hour, significantDigits)
	for _, value := range values {
		require.NoError(t, theirs.RecordValue(value))
	}
	best, err := theirs.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	require.NoError(t, err)
	t.Log(len(text), len(best))
	assert.Less(t, float64(len(text)), 1.2*float64(len(best)))
}
