package operator

import "strings"

// mends are what helps against what a store answers, by a part of the message. The first that fits counts: the core's messages name a
// cause, and some hold the words of another.
var mends = []struct{ part, mend string }{
	{"the ACL user needs", "give the user what the line names, by ACL SETUSER on the server; \"Connect to Redis\" has the whole command"},
	{"user or password", "put both into the address: redis://USER:PASSWORD@HOST:PORT, with @ / : in them percent-encoded"},
	{"tls.ca", "--tls-ca FILE, with the authority that signed the server's certificate"},
	{"tls.serverName", "--tls-server-name NAME, one that the server's certificate has"},
	{"tls.cert", "--tls-cert FILE and --tls-key FILE, of a certificate that the server trusts"},
	{"does not speak TLS", "redis:// in place of rediss://, or the server's port for TLS"},
	{"use rediss://", "rediss:// in place of redis://, with the server's port for TLS"},
	{"redis+cluster://", "redis+cluster:// in place of redis://, or rediss+cluster:// with TLS"},
	{"older than Redis 6", "a server of Redis 6.2 or later"},
	{"out of memory", "CONFIG SET maxmemory with more, or free some"},
	{"cannot save", "see the server's log: as long as it cannot save it refuses to write"},
	{"too few replicas", "see why the primary's replicas do not follow it, or CONFIG SET min-replicas-to-write with fewer"},
	{"lookup ", "correct the host's name, or see to it that this machine can look it up"},
	{"cannot be reached", "start the server, or correct host and port; a firewall or the server's `bind` may also be in the way"},
	{"is a replica", "name the primary: a replica takes no writes"},
	{"does not answer", "see whether the server is overloaded or stopped; --timeout gives it longer"},
}

// mendOf is what helps against what a store answered.
func mendOf(text string) string {
	for _, known := range mends {
		if strings.Contains(text, known.part) {
			return known.mend
		}
	}
	return "see \"Connect to Redis\" in the documentation for addresses, TLS and the permissions that a user needs"
}
