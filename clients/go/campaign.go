package understudy

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "understudy.example/understudy/understudyv1"
)

// The first revision of the agent that understands `standing_down` and `late`: an older one takes both for heartbeats.
const understandsMore = 1

// Campaigns until Close, one stream after the other. Only a heartbeat opens one.
func (e *Elector) run(conn *grpc.ClientConn) {
	defer close(e.done)
	defer conn.Close()
	retry := firstRetry
	for {
		select {
		case <-e.quit:
			<-e.over
			return
		case <-e.beats:
		}
		if !e.mayOpen() {
			continue
		}
		if heard := e.campaign(conn); heard {
			retry = firstRetry
		}
		select {
		case <-e.quit:
		case <-time.After(retry):
			retry = min(retry*2, lastRetry)
			wake(e.pulsed)
		}
	}
}

// One campaign, until its stream ends. Tells whether the agent said anything.
func (e *Elector) campaign(conn *grpc.ClientConn) (heard bool) {
	// Not Start's context: the stream ends after the work, never before.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var err error
	defer func() { e.drop(err) }() // deferred last, so it comes first: the grant goes before the stream
	e.mu.Lock()
	e.hangUp, e.streams, e.revision = cancel, true, 0
	if e.withdrawn {
		cancel() // nobody may be left to hang up
	}
	e.mu.Unlock()
	stream, err := pb.NewElectionServiceClient(conn).Campaign(ctx)
	if err != nil {
		return false
	}
	go e.send(stream)
	for {
		var response *pb.CampaignResponse
		if response, err = stream.Recv(); err != nil {
			return heard
		}
		heard = true
		e.take(response.GetLeadership(), response.GetRevision())
	}
}

// What the agent says becomes what IsLeader compares with the clock.
func (e *Elector) take(now *pb.Leadership, revision uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.said, e.trouble, e.revision = heard(now), "", revision
	switch leads := now.GetRole() == pb.Role_ROLE_LEADER; {
	case leads && e.withdrawn:
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
		e.every.Store(int64(every))
	}
	e.changed()
}

// No stream, no grant.
func (e *Elector) drop(why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.said, e.trouble = said{}, e.explain(why)
	if status.Code(why) == codes.Canceled {
		e.said.reason = ReasonGivenUp // the miner's own doing
	}
	e.last, e.leading, e.streams = Grant{}, false, false
	e.due.Store(false)
	e.sent.Store(0)
	e.changed()
}

// An error in the words of somebody who can mend it.
func (e *Elector) explain(why error) string {
	text := status.Convert(why).Message()
	switch {
	case status.Code(why) != codes.FailedPrecondition:
		return e.agent + ": " + text
	case e.extends:
		return e.agent + " runs with --miner-liveness=campaign: make the elector without understudy.Extending()"
	default:
		return e.agent + " runs with --miner-liveness=probe or always, where nobody campaigns: make the elector with " +
			"understudy.Extending()"
	}
}

// Sends the heartbeat that opened the stream and those that follow.
func (e *Elector) send(stream pb.ElectionService_CampaignClient) {
	for {
		if request := e.next(); request != nil && stream.Send(request) != nil {
			return // the receiver tells why
		}
		select {
		case <-stream.Context().Done():
			return
		case <-e.beats:
		}
	}
}

// What is to be sent now. A miner that stands down sends no heartbeat, and an acknowledgement all the same.
func (e *Elector) next() *pb.CampaignRequest {
	e.mu.Lock()
	defer e.mu.Unlock()
	request := &pb.CampaignRequest{Miner: e.miner, AcknowledgedVersion: e.acknowledged()}
	understands := e.revision >= understandsMore
	switch {
	case e.standsDown():
		e.due.Store(false)
		request.StandingDown = understands
	case len(e.late) > 0 && understands:
		request.Late = strings.Join(e.late, ", ")
	case len(e.late) > 0:
	case e.due.Swap(false):
		return request
	}
	if request.StandingDown || request.Late != "" || request.AcknowledgedVersion != 0 {
		return request
	}
	return nil
}

// There is a heartbeat to send.
func (e *Elector) mayOpen() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.due.Load() && !e.standsDown() && len(e.late) == 0
}

// Asks for each grant until Close, for --miner-liveness=probe and always.
func (e *Elector) ask(conn *grpc.ClientConn) {
	defer close(e.done)
	defer conn.Close()
	client := pb.NewElectionServiceClient(conn)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), lastRetry)
		response, err := client.GetLeadership(ctx, &pb.GetLeadershipRequest{Extend: e.wants()})
		cancel()
		if err == nil {
			e.take(response.GetLeadership(), 0)
		} else {
			e.mu.Lock()
			// What was granted holds until its deadline: no stream says more.
			e.said, e.trouble = said{}, e.explain(err)
			e.changed()
			e.mu.Unlock()
		}
		select {
		case <-e.quit:
			<-e.over
			return
		case <-time.After(time.Duration(e.every.Load())):
		}
	}
}

// A grant may be extended: the agent's own probe vouches for the miner, and what else there is must be fresh.
func (e *Elector) wants() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.standsDown() && len(e.late) == 0
}
