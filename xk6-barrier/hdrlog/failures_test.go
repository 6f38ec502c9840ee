package hdrlog

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"go.k6.io/k6/v2/lib/fsext"
	"go.k6.io/k6/v2/metrics"
)

func TestFilesThatCannotBeMadeAreAnErrorOfTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.out.config.file = filepath.Join(filepath.Dir(w.file), "none", "series.hlog")
	err := w.out.Start()
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.Contains(t, err.Error(), "hdrlog: making the file of histograms: ")
	assert.Contains(t, err.Error(), w.out.config.file)

	w = newWorld(t, "")
	require.NoError(t, os.Mkdir(w.file+".jsonl", 0o700))
	err = w.out.Start()
	require.ErrorIs(t, err, syscall.EISDIR)
	assert.Contains(t, err.Error(), "making the file of values: ")

	w = newWorld(t, "")
	require.NoError(t, os.Symlink("/dev/full", w.file))
	err = w.out.Start()
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.Contains(t, err.Error(), "writing histograms: ")
}

func TestFilesThatAreThereAreReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for _, file := range []string{w.file, w.file + ".jsonl"} {
		require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("older\n", 1000)), 0o600))
	}
	require.NoError(t, w.out.open())
	r := w.end()
	assert.NotContains(t, r.log, "older")
	assert.NotNil(t, r.last)
}

// disk has room for so many bytes.
type disk struct {
	fsext.Fs
	room int
}

func (d *disk) Create(name string) (afero.File, error) {
	file, err := d.Fs.Create(name)
	return &diskFile{file, d}, err
}

type diskFile struct {
	afero.File
	disk *disk
}

func (f *diskFile) Write(b []byte) (int, error) {
	if len(b) > f.disk.room {
		n, _ := f.File.Write(b[:f.disk.room])
		f.disk.room = 0
		return n, syscall.ENOSPC
	}
	f.disk.room -= len(b)
	return f.File.Write(b)
}

func fullWorld(t *testing.T, room int) (*world, *metrics.Metric) {
	t.Helper()
	w := newWorld(t, "")
	w.out.params.FS = &disk{Fs: w.out.params.FS, room: room}
	require.NoError(t, w.out.open())
	return w, w.metric("reqs", metrics.Counter)
}

func TestADiskThatGetsFullEndsTheTestRun(t *testing.T) {
	t.Parallel()
	w, reqs := fullWorld(t, 700)
	for at := range 60 {
		w.add(reqs, time.Duration(at)*time.Second, 1)
		w.pass(time.Duration(at) * time.Second)
	}
	require.Len(t, w.aborted, 1, "it is told once")
	require.ErrorIs(t, w.aborted[0], syscall.ENOSPC)
	assert.Contains(t, w.aborted[0].Error(), "hdrlog: writing values: ")
	assert.Contains(t, w.aborted[0].Error(), "the files are not complete")
	require.NoError(t, w.out.finish(), "it was told")
	assert.Empty(t, w.out.intervals.open, "samples are not kept for a file that takes none")
	text, err := os.ReadFile(w.file + ".jsonl")
	require.NoError(t, err)
	assert.NotContains(t, string(text), `"end"`)
}

func TestADiskThatIsFullAtTheEndIsTold(t *testing.T) {
	t.Parallel()
	w, reqs := fullWorld(t, 1000)
	w.add(reqs, 0, 1)
	w.pass(10 * time.Second)
	require.Empty(t, w.aborted)
	w.out.params.FS.(*disk).room = 0 //nolint:forcetypeassert // a test
	err := w.out.finish()
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.Contains(t, err.Error(), "hdrlog: ")
}
