package barrier

import (
	"go.k6.io/k6/v2/subcommand"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/operator"
)

func init() {
	subcommand.RegisterExtension(operator.Name, operator.New)
}
