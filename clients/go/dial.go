package understudy

import (
	"cmp"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// Where the agent listens unless it is told otherwise.
	defaultAgent = "127.0.0.1:50051"

	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
)

// Dial opens a channel to the agent, at an address as New takes it: no proxy, no idle limit, no keepalive, and
// quick retries, since the agent is on this machine.
func Dial(agent string) (*grpc.ClientConn, error) {
	agent = cmp.Or(agent, defaultAgent)
	if !strings.HasPrefix(agent, "unix:") {
		agent = "passthrough:///" + agent
	}
	return grpc.NewClient(agent,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstRetry, Multiplier: 2, Jitter: 0.2, MaxDelay: lastRetry},
			MinConnectTimeout: lastRetry,
		}))
}
