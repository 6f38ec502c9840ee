package barrier

import (
	"go.k6.io/k6/v2/output"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/hdrlog"
)

func init() {
	output.RegisterExtension(hdrlog.Name, hdrlog.New)
}
