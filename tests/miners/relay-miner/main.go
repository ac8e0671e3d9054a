// A miniature of the leader's part of pocket-relay-miner, written anew: it starts, registers callbacks, looks whether it
// leads already, logs who it is on every line, works per block and in callbacks, and closes what it has deferred.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"understudy.example/understudy"
)

// What the test reads.
type journal struct {
	mu sync.Mutex
	to io.Writer
}

func (j *journal) say(event, fields string) { j.sayAt(understudy.BootTime(), event, fields) }

func (j *journal) sayAt(now uint64, event, fields string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fmt.Fprintln(j.to, now, event, fields)
}

func (j *journal) act(grant understudy.Grant) {
	if now := understudy.BootTime(); now < grant.Until {
		j.sayAt(now, "act", fmt.Sprintf("token=%d until=%d accepted=none", grant.Token, grant.Until))
	}
}

// The chain's node, which hands out blocks until SIGUSR2 stops it.
type chain struct {
	every time.Duration
	halts atomic.Bool
}

func (c *chain) subscribe(ctx context.Context) <-chan struct{} {
	blocks := make(chan struct{})
	go func() {
		for ctx.Err() == nil {
			time.Sleep(c.every)
			if !c.halts.Load() {
				select {
				case blocks <- struct{}{}:
				case <-ctx.Done():
				}
			}
		}
	}()
	return blocks
}

// A log whose every line says whether this replica leads.
type replicaHandler struct {
	slog.Handler
	leads interface{ IsLeader() bool }
}

func (h replicaHandler) Handle(ctx context.Context, line slog.Record) error {
	line.AddAttrs(slog.Bool("leader", h.leads.IsLeader()))
	return h.Handler.Handle(ctx, line)
}

func main() {
	agent := flag.String("agent", "", "the agent beside this miner")
	name := flag.String("name", "relay-miner", "its instance id")
	url := flag.String("redis-url", "redis://127.0.0.1:6379", "its own Redis")
	logFile := flag.String("log", os.DevNull, "what it did, for the test")
	block := flag.Int("block-ms", 500, "how often a block comes")
	sleep := flag.Int("monitor-sleep-ms", 0, "how long the monitor sleeps first")
	survives := flag.Bool("survives-refused-writes", true, "false: it ends when a write of OnElected is refused, as the original does")
	_ = flag.Int("work-every-ms", 0, "of other miners: this one works per block")
	flag.Parse()
	if err := run(*agent, *name, *url, *logFile, time.Duration(*block)*time.Millisecond, time.Duration(*sleep)*time.Millisecond, *survives); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(agent, name, url, logFile string, block, sleep time.Duration, survives bool) error {
	ctx := context.Background()
	file, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return err
	}
	handler := slog.NewJSONHandler(os.Stderr, nil)
	globalLeader := NewGlobalLeaderElectorWithConfig(slog.New(handler), agent, name,
		GlobalLeaderElectorConfig{LeaderTTL: 30 * time.Second, HeartbeatRate: 10 * time.Second})
	if err := globalLeader.Start(ctx); err != nil {
		return err
	}
	defer func() {
		globalLeader.Done() // everything below has been closed
		globalLeader.Close()
	}()
	log := slog.New(replicaHandler{handler, globalLeader})
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			log.Info("a relay was served")
		}
	}()

	leaderController := &controller{elector: globalLeader, store: redis.NewClient(options), log: log,
		journal: &journal{to: file}, chain: &chain{every: block}, block: block, sleep: sleep, survive: survives}
	globalLeader.OnElected(func(ctx context.Context) {
		if err := leaderController.Start(ctx); err != nil {
			log.Error("failed to start leader controller - exiting process", "error", err)
			os.Exit(3)
		}
	})
	globalLeader.OnLost(func(context.Context) {
		if err := leaderController.Close(); err != nil {
			log.Error("failed to close leader controller", "error", err)
		}
	})
	if globalLeader.IsLeader() {
		if err := leaderController.Start(ctx); err != nil {
			return err
		}
	}
	defer func() { _ = leaderController.Close() }()
	// Only from here on can it be elected: whatever an election starts has been told.
	globalLeader.BeatWhile(func() bool { return true })

	halt := make(chan os.Signal, 1)
	signal.Notify(halt, syscall.SIGUSR2)
	go func() {
		<-halt
		leaderController.chain.halts.Store(true)
	}()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
	globalLeader.Withdraw()
	return nil
}
