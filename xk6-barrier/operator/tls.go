package operator

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/k6-barrier/k6-barrier/xk6-barrier/internal/core"
)

// tlsFlags say how to speak TLS to the store: names of PEM files, and of the server.
type tlsFlags struct{ ca, cert, key, serverName string }

func (t *tlsFlags) register(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&t.ca, "tls-ca", "", "PEM file of the authorities to trust instead of the system's, with rediss://")
	flags.StringVar(&t.cert, "tls-cert", "", "PEM file of the certificate to show to the store")
	flags.StringVar(&t.key, "tls-key", "", "PEM file of its private key")
	flags.StringVar(&t.serverName, "tls-server-name", "", "name that the store's certificate must have, else the URL's host")
}

// read gives the options, or nil where there are none.
func (t *tlsFlags) read() (*core.TLSOptions, error) {
	if *t == (tlsFlags{}) {
		return nil, nil //nolint:nilnil // no options are no error
	}
	options := &core.TLSOptions{ServerName: t.serverName}
	for _, file := range []struct {
		flag, name string
		text       *string
	}{{"tls-ca", t.ca, &options.CA}, {"tls-cert", t.cert, &options.Cert}, {"tls-key", t.key, &options.Key}} {
		if file.name == "" {
			continue
		}
		text, err := os.ReadFile(file.name) // #nosec G304 -- the user names it
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", file.flag, err)
		}
		*file.text = string(text)
	}
	return options, nil
}
