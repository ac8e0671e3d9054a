package understudy

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAnEmptyAddressIsTheDefault(t *testing.T) {
	elector := New("", "miner")
	for _, address := range []string{"", elector.agent} {
		conn, err := Dial(address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if target := conn.Target(); target != "passthrough:///127.0.0.1:50051" {
			t.Errorf("%q is dialled as %s", address, target)
		}
	}
}

// Which of the two comes first is a matter of chance: hence so many.
func TestCloseReturnsThoughTheLoopHasJustBeaten(t *testing.T) {
	address := new(agent).serve(t, "127.0.0.1:0")
	for range 100 {
		elector := New(address, "miner")
		start(t, elector)
		elector.Beat()
		closes(t, elector)
	}
}

func TestAnOldBeatOpensNoStream(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	elector := New(address, "miner")
	start(t, elector)
	defer elector.Close()
	elector.Beat() // the loop turns once, and hangs
	time.Sleep(lastRetry)
	late := new(agent)
	late.serve(t, address)
	time.Sleep(2 * lastRetry)
	if heard := late.heard.Load(); heard > 0 {
		t.Errorf("heard %d heartbeats of a loop that hangs", heard)
	}
}

func TestCloseMayBeCalledByWhatItCalls(t *testing.T) {
	t.Parallel()
	address := (&agent{elects: true}).serve(t, "127.0.0.1:0")
	for name, listen := range map[string]func(*Elector, func(context.Context)) func(){
		"OnElected": (*Elector).OnElected,
		"OnLost":    (*Elector).OnLost,
	} {
		t.Run(name, func(t *testing.T) {
			elector := New(address, "miner")
			closed := make(chan struct{})
			listen(elector, func(context.Context) {
				elector.Close()
				close(closed)
			})
			start(t, elector)
			elector.Beat() // one grant, which runs out
			within(t, soon, "Close returns", closed)
		})
	}
}

func TestTheNextTermWaitsForTheFunctionsOfTheLast(t *testing.T) {
	t.Parallel()
	address := (&agent{elects: true}).serve(t, "127.0.0.1:0")
	elector := New(address, "miner")
	elected, lost := make(chan struct{}, 9), make(chan struct{})
	elector.OnElected(func(context.Context) { elected <- struct{}{} })
	elector.OnLost(func(context.Context) { <-lost })
	start(t, elector)
	elector.Beat()
	within(t, soon, "a term", elected)
	time.Sleep(time.Second) // the last grant has run out
	defer beats(elector)()
	never(t, 400*ms, "a term was announced before OnLost had returned", func() bool { return len(elected) > 0 })
	close(lost)
	within(t, soon, "the next term", elected)
}

// A context that outlives the elector, and counts who waits for its end.
type longLived struct {
	context.Context
	waiting atomic.Int64
}

func (c *longLived) Done() <-chan struct{} { return make(chan struct{}) }

func (c *longLived) AfterFunc(func()) (stop func() bool) {
	c.waiting.Add(1)
	return func() bool {
		c.waiting.Add(-1)
		return true
	}
}

func TestCloseLeavesNothingAtTheContext(t *testing.T) {
	ctx := &longLived{Context: context.Background()}
	elector := New("127.0.0.1:1", "miner")
	if err := elector.Start(ctx); err != nil {
		t.Fatal(err)
	}
	closes(t, elector)
	if waiting := ctx.waiting.Load(); waiting != 0 {
		t.Errorf("%d still wait for the context's end", waiting)
	}
}

func TestTheEndOfTheContextCloses(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	elector := New(new(agent).serve(t, "127.0.0.1:0"), "miner")
	if err := elector.Start(ctx); err != nil {
		t.Fatal(err)
	}
	elector.Beat()
	cancel()
	within(t, soon, "the elector is closed", elector.done)
}

// A thousand that go on asking until told not to, as a logger would on every line.
func ask(elector *Elector) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	for range 1000 {
		asking.Go(func() {
			for ctx.Err() == nil {
				elector.IsLeader()
				elector.Grant()
				elector.View()
				time.Sleep(10 * ms)
			}
		})
	}
	return func() {
		cancel()
		asking.Wait()
	}
}

func TestAskingIsNoBeat(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * ms}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	start(t, elector)
	defer ask(elector)()
	never(t, 200*ms, "asking made it a candidate", func() bool { return agent.heard.Load() > 0 })
	stop := beats(elector)
	leads(t, elector)
	stop() // the work hangs, and others go on asking
	until(t, "the grant runs out", func() bool { return !elector.IsLeader() })
}

func TestAskingAllocatesNothing(t *testing.T) {
	agent := &agent{elects: true, grants: time.Hour, every: 10 * ms}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	start(t, elector)
	defer elector.Acknowledge(1 << 60)
	elector.Beat()
	leads(t, elector)
	if n := testing.AllocsPerRun(100, func() { elector.IsLeader() }); n > 0 {
		t.Errorf("IsLeader allocates %v times", n)
	}
}

func BenchmarkIsLeader(b *testing.B) {
	elector := New("", "miner")
	for name, grant := range map[string]Grant{"leader": {Token: 1, Until: 1 << 63}, "standby": {}} {
		elector.now.Store(&snapshot{grant: grant})
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				elector.IsLeader()
			}
		})
	}
	b.Run("clock", func(b *testing.B) { // of which it is made
		for b.Loop() {
			BootTime()
		}
	})
}

func TestNoBeatCountsAfterCloseHasBegun(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{true, false} {
		agent := &agent{elects: true, every: 10 * ms, old: old}
		elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
		start(t, elector)
		stop := beats(elector)
		defer stop()
		pulse := elector.Pulse("pulse", time.Hour)
		pulse.Beat()
		leads(t, elector)
		go elector.Close()
		<-elector.quit
		time.Sleep(100 * ms) // for what was under way
		before := agent.heard.Load()
		within(t, soon, "Close returns", elector.done)
		if beats := agent.heard.Load() - before; beats > 0 {
			t.Errorf("%d heartbeats of a miner that leaves", beats)
		}
	}
}

func TestAGrantThatComesAfterCloseHasBegunIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * ms}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	start(t, elector)
	elector.Beat()
	leads(t, elector)
	agent.silent.Lock()
	agent.grants = time.Hour
	time.Sleep(agent.every)
	elector.Beat()
	go elector.Close()
	<-elector.quit
	agent.silent.Unlock()
	within(t, soon, "Close returns", elector.done)
}

func TestAnAcknowledgementCountsAfterCloseHasBegun(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, grants: time.Hour}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	start(t, elector)
	elector.Beat()
	leads(t, elector)
	defer ask(elector)()
	go elector.Close()
	<-elector.quit
	elector.Acknowledge(5)
	within(t, soon, "Close returns", elector.done)
}

func TestCloseWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, grants: time.Hour}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	start(t, elector)
	elector.Beat()
	leads(t, elector)
	ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
	defer cancel()
	if err := elector.CloseContext(ctx); err != context.DeadlineExceeded {
		t.Errorf("it says %v", err)
	}
	select {
	case <-elector.done:
		t.Error("the stream has ended, though the miner may still act")
	default:
	}
	elector.Done()
	if err := elector.CloseContext(t.Context()); err != nil {
		t.Error(err)
	}
}

// At any moment of a campaign, with and without an acknowledgement.
func TestCloseReturnsThoughAThousandAsk(t *testing.T) {
	t.Parallel()
	const grants = 100 * ms
	agent := &agent{elects: true, grants: grants, every: 5 * ms}
	address := agent.serve(t, "127.0.0.1:0")
	var longest time.Duration
	for round := range 20 {
		elector := New(address, "miner")
		start(t, elector)
		stop := ask(elector)
		stopBeating := beats(elector)
		time.Sleep(rand.N(2 * grants))
		began := time.Now()
		if round%2 == 0 {
			elector.Acknowledge(1 << 60)
		}
		closes(t, elector)
		longest = max(longest, time.Since(began))
		if elector.IsLeader() {
			t.Error("it leads after Close")
		}
		stop()
		stopBeating()
	}
	t.Logf("the longest Close took %v", longest)
	if longest > grants+time.Second {
		t.Errorf("a Close took %v", longest)
	}
}

func TestAcknowledgeEndsTheContextOfItsTerm(t *testing.T) {
	t.Parallel()
	address := (&agent{elects: true}).serve(t, "127.0.0.1:0")
	for range 20 {
		elector := New(address, "miner")
		elected := make(chan context.Context, 1)
		elector.OnElected(func(ctx context.Context) { elected <- ctx })
		start(t, elector)
		elector.Beat()
		term := <-elected
		if token, ok := TokenOf(term); !ok || token < 5 {
			t.Errorf("its token is %d", token)
		}
		elector.Acknowledge(1 << 60)
		if term.Err() == nil {
			t.Error("the term is over, and its context says go on")
		}
		closes(t, elector)
	}
}

// Whether the term is still announced is a matter of chance: hence so many.
func TestNoTermBeginsOnceItIsGivenUp(t *testing.T) {
	t.Parallel()
	address := (&agent{elects: true}).serve(t, "127.0.0.1:0")
	for range 200 {
		elector := New(address, "miner")
		var givenUp atomic.Bool
		elector.OnElected(func(ctx context.Context) {
			if givenUp.Load() && ctx.Err() == nil {
				t.Error("OnElected begins after Acknowledge, and its context says go on")
			}
		})
		start(t, elector)
		elector.Beat()
		leads(t, elector)
		elector.Acknowledge(1 << 60)
		givenUp.Store(true)
		closes(t, elector)
	}
}
