// A sample miner: works only inside its grant, fences its writes, drains when asked, and takes no relays while
// Redis refuses writes.
//
//	go run . -agent 127.0.0.1:50051 -redis-url redis://127.0.0.1:6379
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"understudy.example/understudy"
)

// Accepts a write only under the greatest token it has ever seen: the stale leader's last defence.
var fencedWrite = redis.NewScript(`
local seen = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) < seen then return 0 end
redis.call('PEXPIRE', KEYS[1], 3600000)
redis.call('SET', KEYS[1], ARGV[1])
return 1`)

type miner struct {
	elector *understudy.Elector
	store   *redis.Client // nil: it only says that it acts
	relays  atomic.Bool   // they are taken
	askers  int           // others that ask whether it leads
	mu      sync.Mutex
	log     io.Writer
}

func main() {
	agent := flag.String("agent", os.Getenv("UNDERSTUDY_GRPC_ADDR"), "the agent beside this miner; empty: 127.0.0.1:50051")
	name := flag.String("name", "sample-miner", "the miner's name, for the agent's /status")
	url := flag.String("redis-url", "", "where the fenced writes go; without it the miner only says that it acts")
	logFile := flag.String("log", "", "what it did, line by line; standard output without it")
	workEvery := flag.Int("work-every-ms", 100, "how often it works")
	relaysEvery := flag.Int("relays-every-ms", 0, "how often it takes a relay, leader or not; 0: never")
	askers := flag.Int("askers", 0, "how many others ask whether it leads, to the last; then it acknowledges nothing")
	blocksEvery := flag.Int("blocks-every-ms", 0, "work once per block, and blocks come this often; 0: work in a loop")
	cleanup := flag.Int("cleanup-ms", 0, "how long it cleans up after a term")
	flag.Parse()

	m := &miner{elector: understudy.New(*agent, *name), log: os.Stdout, askers: *askers}
	m.relays.Store(true)
	if *logFile != "" {
		file, err := os.OpenFile(*logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			log.Fatal(err)
		}
		m.log = file
	}
	if *url != "" {
		options, err := redis.ParseURL(*url)
		if err != nil {
			log.Fatal(err)
		}
		options.MaxRetries = -1
		m.store = redis.NewClient(options)
	}
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if *relaysEvery > 0 {
		go m.watchRedis(stop, *agent)
		go m.takeRelays(stop, time.Duration(*relaysEvery)*time.Millisecond)
	}

	m.elector.OnElected(func(context.Context) { m.say("role", "role=ROLE_LEADER") })
	m.elector.OnLost(func(context.Context) {
		m.say("role", "role=ROLE_STANDBY")
		time.Sleep(time.Duration(*cleanup) * time.Millisecond)
		m.say("cleaned", "")
	})
	if err := m.elector.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	for range m.askers {
		go m.ask()
	}
	if *blocksEvery > 0 {
		m.workPerBlock(stop, time.Duration(*blocksEvery)*time.Millisecond)
	} else {
		m.work(stop, time.Duration(*workEvery)*time.Millisecond)
	}
	m.elector.Withdraw()
	if m.askers == 0 {
		m.elector.Done() // what askers do at an answer is not known
	}
	m.elector.Close()
}

// The work loop. It turns whether the miner leads or not, and vouches for itself.
func (m *miner) work(stop context.Context, every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	hang := hangs()
	var term uint64
	for stop.Err() == nil {
		m.elector.Beat()
		if grant, leads := m.elector.Grant(); leads {
			term = grant.Token
			m.act(grant)
		} else if m.askers == 0 {
			// This loop does one thing at a time: whatever it had begun has ended.
			m.elector.Acknowledge(term)
		}
		select {
		case <-ticks.C:
		case <-stop.Done():
		case <-hang:
			select {} // to show that the heartbeats hang with it
		}
	}
}

// Without a loop: what vouches for the work is that blocks come, on a standby too.
func (m *miner) workPerBlock(stop context.Context, every time.Duration) {
	blocks := m.elector.Pulse("blocks", 3*every)
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	hang := hangs()
	for {
		blocks.Beat()
		if grant, leads := m.elector.Grant(); leads {
			m.act(grant)
		}
		select {
		case <-ticks.C:
		case <-stop.Done():
			return
		case <-hang:
			select {}
		}
	}
}

func hangs() <-chan os.Signal {
	hang := make(chan os.Signal, 1)
	signal.Notify(hang, syscall.SIGUSR2)
	return hang
}

// As a logger would on every line.
func (m *miner) ask() {
	for range time.Tick(10 * time.Millisecond) {
		m.elector.IsLeader()
	}
}

// One piece of work. It must be shorter than the grant, and looks at the clock before every effect.
func (m *miner) act(grant understudy.Grant) {
	accepted := m.write(grant)
	// The moment that is checked is the one that is written down.
	if now := understudy.BootTime(); now < grant.Until {
		m.sayAt(now, "act", fmt.Sprintf("token=%d until=%d accepted=%s", grant.Token, grant.Until, accepted))
	}
}

func (m *miner) write(grant understudy.Grant) string {
	if m.store == nil {
		return "none"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	switch accepted, err := fencedWrite.Run(ctx, m.store, []string{"miner:register"}, grant.Token).Int(); {
	case err != nil:
		return "unknown"
	case accepted == 1:
		return "yes"
	default:
		return "no"
	}
}

func (m *miner) say(event, fields string) { m.sayAt(understudy.BootTime(), event, fields) }

func (m *miner) sayAt(now uint64, event, fields string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintln(m.log, now, event, fields)
}
