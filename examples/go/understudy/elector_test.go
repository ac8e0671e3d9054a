package understudy

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	pb "understudy.example/miner/understudyv1"
)

const soon = 5 * time.Second

// An agent that answers every heartbeat with a grant of half a second, or with none.
type agent struct {
	pb.UnimplementedElectionServiceServer
	elects bool
	heard  atomic.Int64
}

func (a *agent) Campaign(stream grpc.BidiStreamingServer[pb.CampaignRequest, pb.CampaignResponse]) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		a.heard.Add(1)
		now := &pb.Leadership{Role: pb.Role_ROLE_STANDBY}
		if a.elects {
			until := BootTime() + uint64(500*time.Millisecond)
			now = &pb.Leadership{Role: pb.Role_ROLE_LEADER, FencingToken: 5, ValidUntilBoottimeNs: until}
		}
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
