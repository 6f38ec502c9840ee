//go:build !barrier_nosse

package barrier

import (
	"go.k6.io/k6/v2/js/modules"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/sse"
)

func init() {
	modules.Register("k6/x/sse", sse.New())
}
