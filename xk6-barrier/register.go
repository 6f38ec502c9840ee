// Package barrier registers the k6 modules of this project and brings k6/x/redis in.
package barrier

import (
	_ "github.com/grafana/xk6-redis" // k6/x/redis, so that one --with is enough
)
