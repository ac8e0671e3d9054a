package understudy

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "understudy.example/understudy/understudyv1"
)

const (
	soon = 5 * time.Second
	ms   = time.Millisecond
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // a thousand lines of no interest
	os.Exit(m.Run())
}

// An agent that answers every heartbeat with a grant of half a second or another length, or with none. It never
// hears of silence: what the elector sends is what counts.
type agent struct {
	pb.UnimplementedElectionServiceServer
	elects   bool
	grants   time.Duration
	every    time.Duration
	old      bool         // of a version that does not know standing_down and late
	extends  bool         // runs with --miner-liveness=probe
	heard    atomic.Int64 // heartbeats
	stood    atomic.Int64 // requests of a miner that stands down
	acked    atomic.Uint64
	asked    atomic.Int64
	late     atomic.Value // the last name
	silent   sync.Mutex   // no answer while it is locked
	token    uint64       // grows whenever the miner has stood down
	standing bool         // it stands down at present
	version  uint64
	last     *pb.Leadership
}

func (a *agent) Campaign(stream grpc.BidiStreamingServer[pb.CampaignRequest, pb.CampaignResponse]) error {
	if a.extends {
		return status.Error(codes.FailedPrecondition, "nobody campaigns")
	}
	revision := uint32(1)
	if a.old {
		revision = 0
	}
	first := &pb.Leadership{Role: pb.Role_ROLE_STANDBY, Reason: pb.Reason_REASON_STARTING, HeartbeatEvery: durationpb.New(a.every)}
	if err := stream.Send(&pb.CampaignResponse{Leadership: first, Revision: revision}); err != nil {
		return err
	}
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		a.silent.Lock()
		now := a.hear(request)
		a.silent.Unlock()
		if err := stream.Send(&pb.CampaignResponse{Leadership: now, Revision: revision}); err != nil {
			return err
		}
	}
}

func (a *agent) hear(request *pb.CampaignRequest) *pb.Leadership {
	a.acked.Store(max(a.acked.Load(), request.GetAcknowledgedVersion()))
	now := &pb.Leadership{Role: pb.Role_ROLE_STANDBY, Reason: pb.Reason_REASON_HELD_BY_OTHER, LeaderId: "other-1",
		HeartbeatEvery: durationpb.New(a.every)}
	stands := request.GetStandingDown() && !a.old
	if stands != a.standing {
		a.standing = stands
		a.version++
	}
	switch {
	case stands:
		a.stood.Add(1)
		now.Role, now.Reason = pb.Role_ROLE_IDLE, pb.Reason_REASON_NOT_CANDIDATE
	case request.GetLate() != "":
		a.late.Store(request.GetLate())
		if a.last.GetValidUntilBoottimeNs() > BootTime() {
			now = a.last // as it stands, and no longer
		}
	default:
		a.heard.Add(1)
		if a.elects {
			if until := a.last.GetValidUntilBoottimeNs(); until != 0 && until <= BootTime() {
				a.version += 2 // that term is over, and this is another
			}
			now = a.grant()
			a.last = now
		}
	}
	now.Version = a.version
	return now
}

func (a *agent) grant() *pb.Leadership {
	until := BootTime() + uint64(cmp.Or(a.grants, 500*ms))
	return &pb.Leadership{Role: pb.Role_ROLE_LEADER, Reason: pb.Reason_REASON_ELECTED, FencingToken: 5 + a.version,
		ValidUntilBoottimeNs: until, HeartbeatEvery: durationpb.New(a.every), LeaderId: "me-1", InstanceId: "me-1"}
}

func (a *agent) GetLeadership(_ context.Context, request *pb.GetLeadershipRequest) (*pb.GetLeadershipResponse, error) {
	if request.GetExtend() {
		a.asked.Add(1)
		if !a.extends {
			return nil, status.Error(codes.FailedPrecondition, "this agent runs with --miner-liveness=campaign")
		}
		return &pb.GetLeadershipResponse{Leadership: a.grant()}, nil
	}
	return &pb.GetLeadershipResponse{Leadership: &pb.Leadership{Role: pb.Role_ROLE_STANDBY, Reason: pb.Reason_REASON_HELD_BY_OTHER}}, nil
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
	t.Cleanup(func() { closes(t, elector) })
}

// A loop that beats until it is told to stop.
func beats(elector *Elector) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var beating sync.WaitGroup
	beating.Go(func() {
		for ctx.Err() == nil {
			elector.Beat()
			time.Sleep(5 * ms)
		}
	})
	return func() {
		cancel()
		beating.Wait()
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

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !is(); time.Sleep(ms) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func never(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(ms) {
		if is() {
			t.Fatal(what)
		}
	}
}

func leads(t *testing.T, elector *Elector) {
	t.Helper()
	until(t, "a term", elector.IsLeader)
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

// Lines of a log, without their attributes.
type lines struct {
	mu   sync.Mutex
	all  []string
	asks func()
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	if l.asks != nil {
		l.asks()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r.Level.String()+" "+r.Message)
	return nil
}

func (l *lines) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}
