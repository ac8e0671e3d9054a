package understudy

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "understudy.example/miner/understudyv1"
)

const soon = 5 * time.Second

// An agent that answers every heartbeat with a grant of half a second or another length, or with none.
type agent struct {
	pb.UnimplementedElectionServiceServer
	elects bool
	grants time.Duration
	every  time.Duration
	heard  atomic.Int64
	silent sync.Mutex // no answer while it is locked
}

func (a *agent) Campaign(stream grpc.BidiStreamingServer[pb.CampaignRequest, pb.CampaignResponse]) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		a.heard.Add(1)
		a.silent.Lock()
		now := &pb.Leadership{Role: pb.Role_ROLE_STANDBY}
		if a.elects {
			until := BootTime() + uint64(cmp.Or(a.grants, 500*time.Millisecond))
			now = &pb.Leadership{Role: pb.Role_ROLE_LEADER, FencingToken: 5, ValidUntilBoottimeNs: until}
		}
		now.HeartbeatEvery = durationpb.New(a.every)
		a.silent.Unlock()
		if err := stream.Send(&pb.CampaignResponse{Leadership: now}); err != nil {
			return err
		}
	}
}

func (a *agent) serve(t *testing.T, at string) string {
	t.Helper()
	listener, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterElectionServiceServer(server, a)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func start(t *testing.T, elector *Elector) {
	t.Helper()
	if err := elector.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func within(t *testing.T, limit time.Duration, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("waited %v in vain: %s", limit, what)
	}
}

func closes(t *testing.T, elector *Elector) {
	t.Helper()
	closed := make(chan struct{})
	go func() {
		elector.Close()
		close(closed)
	}()
	within(t, soon, "Close returns", closed)
}

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
	for name, listen := range map[string]func(*Elector, func(context.Context)){
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
	time.Sleep(time.Second)
	elector.Beat() // the last grant has run out: the next begins a term
	select {
	case <-elected:
		t.Error("a term was announced before OnLost had returned")
	case <-time.After(200 * time.Millisecond):
	}
	close(lost)
	elector.Beat()
	within(t, soon, "the next term", elected)
	closes(t, elector)
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

// Fifty that go on asking until told not to, as a logger would on every line.
func ask(elector *Elector) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	for range 50 {
		asking.Go(func() {
			for ctx.Err() == nil {
				elector.IsLeader()
				time.Sleep(time.Millisecond)
			}
		})
	}
	return func() {
		cancel()
		asking.Wait()
	}
}

func leads(t *testing.T, elector *Elector) {
	t.Helper()
	for end := time.Now().Add(soon); !elector.IsLeader(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for a term")
		}
	}
}

func TestNoBeatCountsAfterCloseHasBegun(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * time.Millisecond}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	start(t, elector)
	leads(t, elector)
	defer ask(elector)()
	go elector.Close()
	<-elector.quit
	time.Sleep(100 * time.Millisecond) // for what was under way
	before := agent.heard.Load()
	within(t, soon, "Close returns", elector.done)
	if beats := agent.heard.Load() - before; beats > 0 {
		t.Errorf("%d heartbeats of a miner that leaves", beats)
	}
}

func TestAGrantThatComesAfterCloseHasBegunIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * time.Millisecond}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	start(t, elector)
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
	leads(t, elector)
	defer ask(elector)()
	go elector.Close()
	<-elector.quit
	elector.Acknowledge(5)
	within(t, soon, "Close returns", elector.done)
}

// At any moment of a campaign, with and without an acknowledgement.
func TestCloseReturnsThoughManyAsk(t *testing.T) {
	t.Parallel()
	const grants = 100 * time.Millisecond
	agent := &agent{elects: true, grants: grants, every: 5 * time.Millisecond}
	address := agent.serve(t, "127.0.0.1:0")
	var longest time.Duration
	for round := range 30 {
		elector := New(address, "miner")
		start(t, elector)
		stop := ask(elector)
		time.Sleep(rand.N(2 * grants))
		began := time.Now()
		if round%2 == 0 {
			elector.Acknowledge(5)
		}
		closes(t, elector)
		longest = max(longest, time.Since(began))
		if elector.IsLeader() {
			t.Error("it leads after Close")
		}
		stop()
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
		elector.Acknowledge(5)
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
		for !elector.IsLeader() {
			runtime.Gosched()
		}
		elector.Acknowledge(5)
		givenUp.Store(true)
		closes(t, elector)
	}
}
