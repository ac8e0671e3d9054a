package main

import (
	"log/slog"
	"time"

	"understudy.example/understudy"
)

// All that replaces the built-in elector: callers, fields and parameters keep its name.

// GlobalLeaderElector was a type of the miner's own.
type GlobalLeaderElector = understudy.Elector

// GlobalLeaderElectorConfig is the agent's business now: --lease-ttl and --renew-every.
type GlobalLeaderElectorConfig struct{ LeaderTTL, HeartbeatRate time.Duration }

// NewGlobalLeaderElectorWithConfig has the old parameters but for the Redis client, in whose place stands the agent.
func NewGlobalLeaderElectorWithConfig(log *slog.Logger, agent, instanceID string, _ GlobalLeaderElectorConfig) *GlobalLeaderElector {
	// The start-up branches below begin the work themselves.
	return understudy.New(agent, instanceID, understudy.WithLogger(log), understudy.WithoutCatchUp())
}
