// Package barrier registers the k6 modules of this project and its output, and brings k6/x/redis in.
package barrier

import (
	_ "github.com/grafana/xk6-redis" // k6/x/redis, so that one --with is enough
	"go.k6.io/k6/v2/js/modules"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/barrier"
)

func init() {
	modules.Register("k6/x/barrier", barrier.New())
}
