package understudy

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"", "127.0.0.1:50051", "localhost:1", "[::1]:50051", "http://127.0.0.1:50051", "unix:/run/x.sock",
		"unix:///run/x.sock"} {
		if conn, err := Dial(good); err != nil {
			t.Error(err)
		} else {
			conn.Close()
		}
	}
	for _, bad := range []string{"127.0.0.1", "50051", ":50051", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536",
		"https://127.0.0.1:50051", "127.0.0.1:50051/x", "a b:1", "127.0.0.1:50051\n", "unix:", "unix://", "/run/x.sock"} {
		elector := New(bad, "miner")
		if err := elector.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "unix:/path") {
			t.Errorf("%q: %v", bad, err)
		}
		elector.Close()
	}
}

func TestWhereNoAgentIsTheViewSaysWhatFailed(t *testing.T) {
	t.Parallel()
	elector := New("unix:"+filepath.Join(t.TempDir(), "none.sock"), "miner", WithLogger(slog.New(&lines{})))
	start(t, elector)
	defer beats(elector)()
	until(t, "it says so", func() bool { return strings.Contains(elector.View().Detail, "no such file") })
}

func TestAnElectorStartsOnce(t *testing.T) {
	t.Parallel()
	closed := New("", "miner")
	closed.Close()
	if closed.Start(t.Context()) == nil {
		t.Error("it starts after Close")
	}
	elector := Always("miner")
	start(t, elector)
	if elector.Start(t.Context()) == nil {
		t.Error("it starts twice")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late := Always("miner")
	if err := late.Start(ended); err != nil {
		t.Error(err)
	}
	until(t, "it is closed", func() bool { return late.View().Reason == ReasonWithdrawn })
}

func TestAPulseWithoutALimitSaysSo(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * ms}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner", WithLogger(slog.New(&lines{})))
	start(t, elector)
	pulse := elector.Pulse("blocks", 0)
	until(t, "it says so", func() bool {
		pulse.Beat()
		return fmt.Sprint(elector.View().Late) == "[blocks (its limit is 0s)]"
	})
	if agent.heard.Load() != 0 {
		t.Error("it vouched")
	}
}

// They remove themselves and others, add more, ask, give up and close, while other goroutines do the same.
func TestFunctionsMayDoAnything(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * ms}
	address := agent.serve(t, "127.0.0.1:0")
	for range 10 {
		elector := New(address, "miner", WithLogger(slog.New(&lines{})))
		pulse := elector.Pulse("work", time.Hour)
		pulse.Beat()
		var added sync.WaitGroup
		added.Add(2)
		var remove func()
		remove = elector.OnElected(func(ctx context.Context) {
			defer added.Done()
			remove()
			remove()
			held := elector.TermPulse(ctx, "term", time.Hour)
			held.Beat()
			elector.OnElected(func(context.Context) {
				defer added.Done()
				elector.OnLost(func(context.Context) { elector.Close() })
				elector.Close()
				held.Beat()
				held.Stop()
				held.Stop()
			})
		})
		elector.OnChange(func(View) {
			elector.OnChange(func(View) { panic("of the miner's") })
			elector.Pulse("another", time.Hour).Stop()
			_ = elector.IsLeader()
		})
		start(t, elector)
		within(t, soon, "both have run", closedBy(&added))
		for range 5 {
			go elector.Close()
		}
		elector.Done()
		closes(t, elector)
	}
}

func closedBy(group *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	return done
}

// Not in parallel: it counts what the whole process has.
func TestNothingIsLeftAfterClose(t *testing.T) {
	agent := &agent{elects: true, every: 10 * ms}
	address := agent.serve(t, "127.0.0.1:0")
	before := runtime.NumGoroutine()
	for range 20 {
		elector := New(address, "miner", WithLogger(slog.New(&lines{})))
		if err := elector.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		elector.BeatWhile(func() bool { return true })
		for range 50 {
			elector.Pulse("work", time.Hour).Beat()
		}
		leads(t, elector)
		elector.Done()
		elector.Close()
	}
	// One more each for what the server still ends.
	until(t, "they are gone", func() bool { return runtime.NumGoroutine() <= before+2 })
}
