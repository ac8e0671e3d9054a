package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"understudy.example/understudy"
)

// The leader's resources: they exist while it leads.
type controller struct {
	elector *GlobalLeaderElector
	store   *redis.Client
	log     *slog.Logger
	journal *journal
	chain   *chain
	block   time.Duration
	sleep   time.Duration // of the monitor, before its first check
	survive bool          // refused writes

	mu     sync.Mutex
	active bool
	cancel context.CancelFunc
	works  sync.WaitGroup
	blocks *understudy.Pulse
	forget []func()
}

// Start makes them all. It is called by OnElected, and by the start-up branch.
func (c *controller) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active {
		return errors.New("leader controller already active")
	}
	ctx, c.cancel = context.WithCancel(ctx)
	if err := c.publishFactors(ctx); err != nil {
		if !c.survive {
			return fmt.Errorf("failed to publish service factors: %w", err)
		}
		// Out of memory it is refused: the rest of the work must not wait for that.
		c.log.Warn("service factors are not published yet", "error", err)
		c.works.Go(func() { c.publishUntilDone(ctx) })
	}
	c.startCaches(ctx)
	// What vouches for a leader is that it publishes blocks: begun is beaten.
	c.blocks = c.elector.TermPulse(ctx, "blocks", 3*c.block)
	c.blocks.Beat()
	c.works.Go(func() { c.publishBlocks(ctx) })
	c.works.Go(func() { c.monitor(ctx) })
	c.active = true
	c.journal.say("active", "")
	return nil
}

// Close ends them, and waits for each: the monitor may sleep.
func (c *controller) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.active {
		return nil
	}
	c.active = false
	c.cancel()
	for _, forget := range c.forget {
		forget()
	}
	c.forget = nil
	c.works.Wait()
	c.blocks.Stop()
	c.journal.say("inactive", "")
	return nil
}

func (c *controller) publishFactors(ctx context.Context) error {
	return c.store.Set(ctx, "relay-miner:factors", "1", 0).Err()
}

func (c *controller) publishUntilDone(ctx context.Context) {
	for ctx.Err() == nil && c.publishFactors(ctx) != nil {
		time.Sleep(200 * time.Millisecond)
	}
}

// The caches add callbacks of their own while the miner leads, and begin at once if it does.
func (c *controller) startCaches(ctx context.Context) {
	var once sync.Once
	refresh := func(context.Context) {
		began := false
		once.Do(func() { began = true })
		if !began {
			c.journal.say("twice", "")
			os.Exit(4)
		}
	}
	c.forget = append(c.forget, c.elector.OnElected(refresh))
	if c.elector.IsLeader() {
		refresh(ctx)
	}
}

// Per block: what the workers of all miners wait for.
func (c *controller) publishBlocks(ctx context.Context) {
	blocks := c.chain.subscribe(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-blocks:
			c.blocks.Beat()
			if grant, leads := c.elector.Grant(); leads {
				c.journal.act(grant)
			}
		}
	}
}

// A monitor on a ticker, which asks whether it leads and does not answer while it sleeps.
func (c *controller) monitor(ctx context.Context) {
	time.Sleep(c.sleep)
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		if !c.elector.IsLeader() {
			c.log.Debug("skipping balance check (not leader)")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}
