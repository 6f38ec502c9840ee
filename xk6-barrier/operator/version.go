package operator

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"go.k6.io/k6/v2/errext"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

const (
	k6Path     = "go.k6.io/k6/v2"
	modulePath = "github.com/k6-barrier/k6-barrier/xk6-barrier"
)

// released is the version of this module where it was built from a folder as part of a release, which scripts/archive.sh says to the
// linker. Where xk6 took the module by its version, Go knows that itself.
var released string

// versions is what this k6 was made of. `k6 version` shows a module that was built from a folder as (devel), whatever is
// in it; the core's build id tells one such build from another.
type versions struct {
	K6     string `json:"k6"`
	Module string `json:"module"`
	Core   string `json:"core"`
	ABI    uint32 `json:"abi"`
	Go     string `json:"go"`
}

func (s *settings) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Tell the versions of k6, of this module and of its core",
		Long: `Tells the versions of k6, of this module and of its core, on one line or as JSON.

The core is named by its build id, a hash of its sources, its dependencies and its flags:
the same sources built again have the same.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			found, err := versionsOf(debug.ReadBuildInfo())
			if err == nil && s.json {
				err = s.print(found)
			} else if err == nil {
				s.say("k6 %s, xk6-barrier %s, core %s, ABI %d, %s", found.K6, found.Module, found.Core, found.ABI, found.Go)
			}
			return errext.WithExitCodeIfNone(err, failed)
		},
	}
}

func versionsOf(info *debug.BuildInfo, known bool) (versions, error) {
	abi, id, err := core.Linked()
	if err != nil {
		return versions{}, err
	}
	found := versions{K6: "unknown", Module: "unknown", Core: id, ABI: abi, Go: runtime.Version()}
	if known {
		for _, module := range append(info.Deps, &info.Main) {
			switch module.Path {
			case k6Path:
				found.K6 = module.Version
			case modulePath:
				found.Module = versionOf(module, released)
			}
		}
	}
	return found, nil
}

// versionOf is the version of a module, or that of what takes its place: a folder has none, but it may be a release's.
func versionOf(module *debug.Module, released string) string {
	if module.Replace != nil {
		module = module.Replace
	}
	switch {
	case module.Version != "" && module.Version != "(devel)":
		return module.Version
	case released != "":
		return released
	default:
		return "(devel)"
	}
}
