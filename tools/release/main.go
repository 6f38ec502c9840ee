// Command release writes a Go module into a module proxy of files: a folder that GOPROXY=file://FOLDER takes modules from.
//
//	release -version v0.1.0 -time 2026-01-02T15:04:05Z -proxy FOLDER MODULE
//
// MODULE is a folder that holds what the module is to consist of, and nothing else. Other versions that the proxy
// has stay; a version is written once and never again.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/zip"
)

func main() {
	version := flag.String("version", "", "version of the module, such as v0.1.0")
	at := flag.String("time", "", "when that version was made, as in RFC 3339")
	proxy := flag.String("proxy", "", "folder of the module proxy")
	flag.Parse()

	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}

	if err := publish(flag.Arg(0), *version, *at, *proxy); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func publish(dir, version, at, proxy string) error {
	stamp, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return fmt.Errorf("-time: %w", err)
	}

	if semver.Canonical(version) != version || version == "" {
		return fmt.Errorf("-version is %q, it has to be a canonical one such as v0.1.0", version)
	}

	goMod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return err
	}

	mod := module.Version{Path: modfile.ModulePath(goMod), Version: version}
	if err := module.Check(mod.Path, mod.Version); err != nil {
		return err
	}

	escaped, err := module.EscapePath(mod.Path)
	if err != nil {
		return err
	}

	folder := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}

	file := func(extension string) string { return filepath.Join(folder, version+extension) }
	if _, err := os.Stat(file(".zip")); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %s is in %s already; a version is never changed", mod.Path, version, proxy)
	}

	if err := writeZip(file(".zip"), mod, dir); err != nil {
		return err
	}

	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{version, stamp.UTC()})
	if err != nil {
		return err
	}

	if err := os.WriteFile(file(".info"), info, 0o644); err != nil {
		return err
	}

	if err := os.WriteFile(file(".mod"), goMod, 0o644); err != nil {
		return err
	}

	return addToList(filepath.Join(folder, "list"), version)
}

// writeZip leaves no half a file behind.
func writeZip(path string, mod module.Version, dir string) error {
	file, err := os.CreateTemp(filepath.Dir(path), "*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()

	if err := zip.CreateFromDir(file, mod, dir); err != nil {
		return err
	}

	if err := errors.Join(file.Chmod(0o644), file.Close()); err != nil {
		return err
	}

	return os.Rename(file.Name(), path)
}

func addToList(path, version string) error {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}

	versions := append(strings.Fields(string(text)), version)
	slices.SortFunc(versions, semver.Compare)

	return os.WriteFile(path, []byte(strings.Join(versions, "\n")+"\n"), 0o644)
}
