package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/go-enry/go-license-detector/v4/licensedb"
)

// component is a package of others that is part of what is built.
type component struct {
	// kind is where the package comes from, as in package URLs: cargo, golang.
	kind                   string
	name, version, licence string
	dir                    string
	inCore                 bool
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|unlicense|copyright)`)

// texts are the component's licence files.
func (c component) texts() ([]string, error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, err
	}

	var texts []string

	for _, entry := range entries {
		if !entry.Type().IsRegular() || !licenceFile.MatchString(entry.Name()) {
			continue
		}

		text, err := os.ReadFile(filepath.Join(c.dir, entry.Name()))
		if err != nil {
			return nil, err
		}

		texts = append(texts, strings.TrimSpace(string(text)))
	}

	return texts, nil
}

func byName(a, b component) int {
	return strings.Compare(a.name+" "+a.version, b.name+" "+b.version)
}

func output(dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr

	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, args[0], err)
	}

	return out, nil
}

// metadata is what is needed of cargo's.
type metadata struct {
	Packages []struct {
		ID       string  `json:"id"`
		Name     string  `json:"name"`
		Version  string  `json:"version"`
		License  string  `json:"license"`
		Source   *string `json:"source"`
		Manifest string  `json:"manifest_path"`
	} `json:"packages"`
	Resolve struct {
		Nodes []struct {
			ID   string `json:"id"`
			Deps []struct {
				Package string `json:"pkg"`
				Kinds   []struct {
					Kind *string `json:"kind"`
				} `json:"dep_kinds"`
			} `json:"deps"`
		} `json:"nodes"`
	} `json:"resolve"`
}

// crates are those linked into the core and into the programs, without what only builds or tests them.
func crates(root string) ([]component, error) {
	out, err := output(root, nil, "cargo", "metadata", "--format-version", "1", "--locked",
		"--filter-platform", "x86_64-unknown-linux-gnu")
	if err != nil {
		return nil, err
	}

	var m metadata
	if err := json.Unmarshal(out, &m); err != nil {
		return nil, fmt.Errorf("cargo metadata: %w", err)
	}

	linked := map[string][]string{}

	for _, node := range m.Resolve.Nodes {
		for _, dep := range node.Deps {
			for _, kind := range dep.Kinds {
				if kind.Kind == nil {
					linked[node.ID] = append(linked[node.ID], dep.Package)

					break
				}
			}
		}
	}

	shipped, err := programs(root)
	if err != nil {
		return nil, err
	}

	core, programs := map[string]bool{}, map[string]bool{}

	for _, p := range m.Packages {
		switch {
		case p.Name == "barrier-ffi":
			reach(p.ID, linked, core)
		case slices.Contains(shipped, filepath.Dir(p.Manifest)):
			reach(p.ID, linked, programs)
		}
	}

	var found []component

	for _, p := range m.Packages {
		if p.Source == nil || !core[p.ID] && !programs[p.ID] {
			continue
		}

		found = append(found, component{
			kind: "cargo", name: p.Name, version: p.Version, licence: strings.ReplaceAll(p.License, "/", " OR "),
			dir: filepath.Dir(p.Manifest), inCore: core[p.ID],
		})
	}

	slices.SortFunc(found, byName)

	return found, nil
}

// programs are the folders of the crates whose programs an archive has: the runner, and each reference target that is one.
// scripts/archive.sh packs by the same rule.
func programs(root string) ([]string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}

	mains, err := filepath.Glob(filepath.Join(root, "bench", "targets", "*", "src", "main.rs"))
	if err != nil {
		return nil, err
	}

	found := []string{filepath.Join(root, "bench", "runner")}
	for _, file := range mains {
		found = append(found, filepath.Dir(filepath.Dir(file)))
	}

	return found, nil
}

func reach(id string, linked map[string][]string, seen map[string]bool) {
	if seen[id] {
		return
	}

	seen[id] = true
	for _, next := range linked[id] {
		reach(next, linked, seen)
	}
}

// modules are those whose packages are part of the Go module's own.
func modules(root string) ([]component, error) {
	out, err := output(filepath.Join(root, "xk6-barrier"),
		[]string{"CGO_ENABLED=1", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-tags=netgo,osusergo"},
		"go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}", ".",
		"go.k6.io/k6/v2") // k6's own program
	if err != nil {
		return nil, err
	}

	seen := map[string]bool{}

	var found []component

	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || seen[fields[0]] {
			continue
		}

		seen[fields[0]] = true

		licence, err := detect(fields[2])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fields[0], err)
		}

		found = append(found, component{kind: "golang", name: fields[0], version: fields[1], licence: licence, dir: fields[2]})
	}

	slices.SortFunc(found, byName)

	return found, nil
}

// detect names the licences of a module by the texts of its files.
func detect(dir string) (string, error) {
	const sure = 0.7

	var names []string

	for _, result := range licensedb.Analyse(dir) {
		if result.ErrStr != "" { // such as a module of generated code
			return "no licence file", nil
		}

		best := map[string]string{}
		confidence := map[string]float32{}

		for _, match := range result.Matches {
			// Versions of a licence with the same text tie; the first by name stands for them.
			better := match.Confidence > confidence[match.File] ||
				match.Confidence == confidence[match.File] && match.License < best[match.File]
			if match.Confidence >= sure && better {
				best[match.File], confidence[match.File] = match.License, match.Confidence
			}
		}

		for _, name := range best {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}

	if len(names) == 0 {
		return "", fmt.Errorf("no licence was recognised in %s", dir)
	}

	slices.Sort(names)

	return strings.Join(names, ", "), nil
}
