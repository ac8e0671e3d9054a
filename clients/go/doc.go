// Package understudy is a miner's view of its leadership.
//
// The agent beside the miner owns the lock in Redis and grants the right to act, each time until a deadline on a
// clock that both read. An Elector keeps the last grant, so that IsLeader is a comparison and no round trip.
//
// Asking is not beating: what vouches for the miner's work is said, by Beat from the loop that does the work, by
// a Pulse for each thing that must go on, or by BeatWhile with a check of the miner's own. Whatever stops the
// work stops the heartbeats too, and the agent lets another miner lead.
//
//	elector := understudy.New(os.Getenv("UNDERSTUDY_GRPC_ADDR"), "my-miner")
//	elector.OnElected(func(ctx context.Context) { … })
//	elector.OnLost(func(ctx context.Context) { … })
//	if err := elector.Start(ctx); err != nil { … }
//	blocks := elector.Pulse("blocks", 3*blockTime)
//	for block := range subscription {
//		blocks.Beat()
//		if elector.IsLeader() { … }
//	}
//
//	elector.Withdraw() // on SIGTERM, first
//	…                  // the miner's own cleanup
//	elector.Done()
//	elector.Close()
package understudy

//go:generate npx --yes @bufbuild/buf@1.75 generate ../../proto
