// Package understudy is a miner's view of its leadership: the file to copy.
//
// The agent beside the miner owns the lock in Redis and grants the right to act, each time until a deadline
// on a clock that both read. An Elector keeps the last grant, so that IsLeader is a comparison and no round
// trip. Its heartbeats are the calls of the miner's own work loop: whatever stops the work stops them too,
// and the agent lets another miner lead.
package understudy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "understudy.example/miner/understudyv1"
)

const (
	// Where the agent listens unless it is told otherwise.
	defaultAgent = "127.0.0.1:50051"

	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
	// Until the agent has said how often it wants to hear.
	firstHeartbeatEvery = 300 * time.Millisecond
)

// Grant is the right to act as leader, until it ends by itself.
type Grant struct {
	// Token grows from term to term. Send it with every write to a store that can refuse a smaller one than
	// it has seen.
	Token uint64
	// Until is when it ends, on CLOCK_BOOTTIME in nanoseconds.
	Until uint64
}

// Holds tells whether the clock is still below the grant's end. Ask before every effect.
func (g Grant) Holds() bool { return BootTime() < g.Until }

func (g Grant) left() time.Duration { return time.Duration(g.Until - min(BootTime(), g.Until)) }

// BootTime is CLOCK_BOOTTIME in nanoseconds: the clock that miner and agent share.
func BootTime() uint64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return ^uint64(0) // a clock that cannot be read: no grant holds
	}
	return uint64(now.Nano())
}

// Elector campaigns for one miner. Its methods may be called from any goroutine.
type Elector struct {
	agent, miner string

	mu        sync.Mutex
	last      Grant              // the last one that was sent on the present stream
	leading   bool               // and it stands
	endedBy   uint64             // the version that ended it, unless it stands
	stopped   uint64             // nothing acts any more under this token and smaller ones: the miner's word
	hangUp    context.CancelFunc // ends the present stream
	announced uint64             // the token of the term that was announced
	endTerm   context.CancelFunc // ends its context
	every     time.Duration
	beaten    time.Time
	started   bool
	closing   bool
	unwatch   func() bool // leaves Start's context alone
	onElected []func(context.Context)
	onLost    []func(context.Context)

	beats   chan struct{} // the work loop turns
	changes chan struct{} // something that announce looks at is new
	quit    chan struct{} // closed: leave
	over    chan struct{} // closed: every term is over, and announced as lost
	done    chan struct{} // closed: the stream is gone
}

// New makes an elector for the agent at an address ("127.0.0.1:50051", which "" means too) or a socket
// ("unix:/run/understudy/grpc.sock"). The miner's name is for the agent's status.
func New(agent, miner string) *Elector {
	return &Elector{
		agent: cmp.Or(agent, defaultAgent), miner: miner, every: firstHeartbeatEvery,
		hangUp: func() {}, endTerm: func() {}, unwatch: func() bool { return false },
		beats: make(chan struct{}, 1), changes: make(chan struct{}, 1),
		quit: make(chan struct{}), over: make(chan struct{}), done: make(chan struct{}),
	}
}

// OnElected adds a function for the beginning of a term. It runs in a goroutine of its own; its context ends
// with the term, and has ended before Acknowledge returns.
func (e *Elector) OnElected(f func(context.Context)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onElected = append(e.onElected, f)
}

// OnLost adds a function for the end of a term, whatever ended it. It runs in a goroutine of its own. The next
// term is announced when all of them have returned.
func (e *Elector) OnLost(f func(context.Context)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onLost = append(e.onLost, f)
}

// Start returns at once; an agent that is not there yet is waited for. When ctx ends, the elector is closed.
func (e *Elector) Start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.started || e.closing {
		return errors.New("understudy: an elector starts once")
	}
	conn, err := Dial(e.agent)
	if err != nil {
		return err
	}
	e.started = true
	go e.announce(context.WithoutCancel(ctx))
	go e.run(conn)
	e.unwatch = context.AfterFunc(ctx, e.Close)
	return nil
}

// IsLeader tells whether the miner may act now. It is a heartbeat too: ask from the loop that does the work.
func (e *Elector) IsLeader() bool {
	_, ok := e.Grant()
	return ok
}

// Grant is IsLeader with the token, for writes that are fenced.
func (e *Elector) Grant() (Grant, bool) {
	e.Beat()
	return e.held()
}

// Beat tells the agent that the work loop turns. The miner is a candidate only while it beats: call it, or
// IsLeader, from a loop that also turns while the miner stands by, several times a second. What is more than
// the agent wants is not sent.
func (e *Elector) Beat() {
	e.mu.Lock()
	due := time.Since(e.beaten) >= e.every
	if due {
		e.beaten = time.Now()
	}
	e.mu.Unlock()
	if due {
		wake(e.beats)
	}
}

// Acknowledge says that nothing of the term with this token acts any more, and nothing will: the next leader
// need not wait for the end of its last grant. Optional, and only for when all work of the term has ended. If
// the term still stands, it ends.
func (e *Elector) Acknowledge(token uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if token <= e.stopped {
		return
	}
	e.stopped = token
	switch {
	case e.leading && e.last.Token <= token:
		e.hangUp()
	case e.acknowledged() != 0:
		wake(e.beats)
	}
	e.changed()
}

// Close leaves: IsLeader is false from here on, the OnLost functions are called, and once the term was
// acknowledged or its last grant is over the campaign ends and the lock goes to the next miner. Nothing extends
// that grant, even if other callers go on asking. It returns after that, and waits for none of the functions: they may call
// it.
func (e *Elector) Close() {
	e.mu.Lock()
	if !e.closing {
		e.closing = true
		close(e.quit)
		e.changed()
		e.unwatch()
	}
	started := e.started
	e.mu.Unlock()
	if started {
		<-e.done
	}
}

func (e *Elector) held() (Grant, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heldNow()
}

func (e *Elector) heldNow() (Grant, bool) {
	if e.closing || !e.leading || e.last.Token <= e.stopped || !e.last.Holds() {
		return Grant{}, false
	}
	return e.last, true
}

// Dial opens a channel to the agent, at an address as New takes it: no proxy, no idle limit, no keepalive, and
// quick retries, since the agent is on this machine.
func Dial(agent string) (*grpc.ClientConn, error) {
	agent = cmp.Or(agent, defaultAgent)
	if !strings.HasPrefix(agent, "unix:") {
		agent = "passthrough:///" + agent
	}
	return grpc.NewClient(agent,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstRetry, Multiplier: 2, Jitter: 0.2, MaxDelay: lastRetry},
			MinConnectTimeout: lastRetry,
		}))
}

// Campaigns until Close, one stream after the other. Only a beat opens one.
func (e *Elector) run(conn *grpc.ClientConn) {
	defer close(e.done)
	defer conn.Close()
	retry, said := firstRetry, ""
	for {
		select {
		case <-e.quit:
			<-e.over
			return
		case <-e.beats:
		}
		heard, err := e.campaign(conn)
		if heard {
			retry, said = firstRetry, ""
		}
		if err.Error() != said && status.Code(err) != codes.Canceled {
			said = err.Error()
			slog.Warn("understudy: no campaign, so not a leader", "agent", e.agent, "error", err)
		}
		select {
		case <-e.quit:
		case <-time.After(retry):
			retry = min(retry*2, lastRetry)
		}
	}
}

// One campaign, until its stream ends. Tells whether the agent said anything.
func (e *Elector) campaign(conn *grpc.ClientConn) (heard bool, err error) {
	// Not Start's context: the stream ends after the work, never before.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer e.drop() // deferred last, so it comes first: the grant goes before the stream
	e.mu.Lock()
	e.hangUp = cancel
	if e.closing {
		cancel() // nobody may be left to hang up
	}
	e.mu.Unlock()
	stream, err := pb.NewElectionServiceClient(conn).Campaign(ctx)
	if err != nil {
		return false, err
	}
	go e.send(stream)
	for {
		response, err := stream.Recv()
		if err != nil {
			return heard, err
		}
		heard = true
		e.take(response.GetLeadership())
	}
}

// What the agent says becomes what IsLeader compares with the clock.
func (e *Elector) take(now *pb.Leadership) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch leads := now.GetRole() == pb.Role_ROLE_LEADER; {
	case leads && e.closing:
		// Nothing extends the grant that Close waits for, and nobody is told of another.
	case leads:
		until := now.GetValidUntilBoottimeNs()
		if e.last.Token == now.GetFencingToken() {
			until = max(until, e.last.Until)
		}
		e.last, e.leading = Grant{Token: now.GetFencingToken(), Until: until}, true
	case e.leading:
		e.leading, e.endedBy = false, now.GetVersion()
		if e.acknowledged() != 0 {
			wake(e.beats)
		}
	}
	if every := now.GetHeartbeatEvery().AsDuration(); every > 0 {
		e.every = every
	}
	e.changed()
}

// No stream, no grant.
func (e *Elector) drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last, e.leading, e.beaten = Grant{}, false, time.Time{}
	e.changed()
}

// Something that announce looks at is new. The context of a term that is over ends here, at once.
func (e *Elector) changed() {
	if grant, _ := e.heldNow(); grant.Token != e.announced {
		e.endTerm()
	}
	wake(e.changes)
}

// The version of which it is true that nothing begun before it still acts; 0: none is known.
func (e *Elector) acknowledged() uint64 {
	if !e.leading && e.last.Token != 0 && e.last.Token <= e.stopped {
		return e.endedBy
	}
	return 0
}

// Sends the beat that opened the stream and those that follow, and none of its own. After Close has begun no
// beat counts, from any caller; an acknowledgement does.
func (e *Elector) send(stream pb.ElectionService_CampaignClient) {
	for {
		e.mu.Lock()
		request := &pb.CampaignRequest{Miner: e.miner, AcknowledgedVersion: e.acknowledged()}
		counts := !e.closing || request.AcknowledgedVersion != 0
		e.mu.Unlock()
		if counts && stream.Send(request) != nil {
			return // the receiver tells why
		}
		select {
		case <-stream.Context().Done():
			return
		case <-e.beats:
		}
	}
}

// Calls the miner's functions in the order of what happened.
func (e *Elector) announce(ctx context.Context) {
	defer e.leave()
	var token uint64 // of the term that was announced
	for {
		grant, leads := e.held()
		if token != 0 && grant.Token != token {
			e.endTerm()
			select {
			case <-e.call(ctx, &e.onLost):
			case <-e.quit: // there is no next term, and one of them may be what called Close
			}
			token = 0
			continue
		}
		var ends <-chan time.Time
		if leads {
			ends = time.After(grant.left())
			if token == 0 {
				token = grant.Token
				e.call(e.begin(ctx, token), &e.onElected)
			}
		}
		select {
		case <-e.changes:
		case <-ends:
		case <-e.quit:
			if token == 0 {
				e.waitUntilOver()
				return
			}
		}
	}
}

// The context of a term that begins: it has ended if the term was given up meanwhile.
func (e *Elector) begin(ctx context.Context, token uint64) context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	ctx, e.endTerm = context.WithCancel(ctx)
	e.announced = token
	e.changed()
	return ctx
}

// Calls them, each in a goroutine of its own, and tells when all have returned.
func (e *Elector) call(ctx context.Context, functions *[]func(context.Context)) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	var running sync.WaitGroup
	for _, function := range *functions {
		running.Go(func() { function(ctx) })
	}
	returned := make(chan struct{})
	go func() {
		running.Wait()
		close(returned)
	}()
	return returned
}

// Every term is over: the stream may end.
func (e *Elector) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.over)
	e.hangUp()
}

// Until the miner has acknowledged its last term, or the last grant has run out.
func (e *Elector) waitUntilOver() {
	for {
		e.mu.Lock()
		last, stopped := e.last, e.stopped
		e.mu.Unlock()
		if last.Token <= stopped || !last.Holds() {
			return
		}
		select {
		case <-e.changes:
		case <-time.After(last.left()):
		}
	}
}

// Wakes whoever waits, or will wait next.
func wake(whom chan struct{}) {
	select {
	case whom <- struct{}{}:
	default:
	}
}
