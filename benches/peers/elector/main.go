// Leader election as the users of each library write it, from its own documents and with its defaults: the lock's key,
// a line in a log for every act as leader, and a release at SIGTERM. For comparison only.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"golang.org/x/sys/unix"
)

const key = "bench:leader"

// Leads until the context ends or the lock is lost.
type elect func(ctx context.Context, address string, ttl time.Duration, leads *atomic.Bool) error

// redislock: Obtain with a linear backoff of a second, Refresh at a third of the TTL.
func withRedislock(ctx context.Context, address string, ttl time.Duration, leads *atomic.Bool) error {
	client := redis.NewClient(&redis.Options{Addr: address})
	defer client.Close()
	options := &redislock.Options{RetryStrategy: redislock.LinearBackoff(time.Second)}
	lock, err := redislock.New(client).Obtain(ctx, key, ttl, options)
	if err != nil {
		return err
	}
	defer lock.Release(context.Background())
	leads.Store(true)
	defer leads.Store(false)
	tick := time.NewTicker(ttl / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := lock.Refresh(ctx, ttl, nil); err != nil {
				return err
			}
		}
	}
}

// rueidislock: one key of majority 1, as with a single Redis; the library extends and hears of a release by itself.
func withRueidislock(ctx context.Context, address string, ttl time.Duration, leads *atomic.Bool) error {
	locker, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption:   rueidis.ClientOption{InitAddress: []string{address}},
		KeyMajority:    1,
		NoLoopTracking: true,
		KeyValidity:    ttl,
		ExtendInterval: ttl / 3,
	})
	if err != nil {
		return err
	}
	defer locker.Close()
	held, cancel, err := locker.WithContext(ctx, key)
	if err != nil {
		return err
	}
	defer cancel()
	leads.Store(true)
	defer leads.Store(false)
	<-held.Done()
	return held.Err()
}

// etcd: a session of the TTL, and Campaign.
func withEtcd(ctx context.Context, address string, ttl time.Duration, leads *atomic.Bool) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, DialTimeout: 2 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(int(ttl.Seconds())))
	if err != nil {
		return err
	}
	defer session.Close()
	election := concurrency.NewElection(session, key)
	if err := election.Campaign(ctx, fmt.Sprint(os.Getpid())); err != nil {
		return err
	}
	defer election.Resign(context.Background())
	leads.Store(true)
	defer leads.Store(false)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-session.Done():
		return context.Canceled
	}
}

func act(path string, every time.Duration, leads *atomic.Bool) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	for range time.Tick(every) {
		if !leads.Load() {
			continue
		}
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
			log.Fatal(err)
		}
		fmt.Fprintf(file, "%d act token=0 accepted=none\n", now.Nano())
	}
}

func main() {
	kinds := map[string]elect{"redislock": withRedislock, "rueidislock": withRueidislock, "etcd": withEtcd}
	kind := flag.String("kind", "redislock", "redislock, rueidislock or etcd")
	address := flag.String("address", "127.0.0.1:6379", "of Redis, or of etcd")
	path := flag.String("log", "", "where it writes down what it did")
	ttl := flag.Duration("ttl", 3*time.Second, "")
	flag.Parse()
	run, known := kinds[*kind]
	if !known {
		log.Fatalf("no %s", *kind)
	}

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	var leads atomic.Bool
	go act(*path, time.Millisecond, &leads)
	for ctx.Err() == nil {
		if err := run(ctx, strings.TrimSpace(*address), *ttl, &leads); err != nil && ctx.Err() == nil {
			log.Print(err)
			time.Sleep(100 * time.Millisecond)
		}
	}
}
