package understudy

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
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
	target, err := target(cmp.Or(agent, defaultAgent))
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstRetry, Multiplier: 2, Jitter: 0.2, MaxDelay: lastRetry},
			MinConnectTimeout: lastRetry,
		}))
}

// The address as gRPC has it.
func target(agent string) (string, error) {
	if path, isSocket := strings.CutPrefix(agent, "unix:"); isSocket && strings.Trim(path, "/") != "" {
		return agent, nil
	}
	address := strings.TrimPrefix(agent, "http://")
	host, port, err := net.SplitHostPort(address)
	if number, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || number == 0 || host == "" ||
		strings.ContainsAny(host, " @/") {
		return "", fmt.Errorf("understudy: the agent's address is malformed: expected 127.0.0.1:50051 or unix:/path, not %q", agent)
	}
	return "passthrough:///" + address, nil
}
