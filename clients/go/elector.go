package understudy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Until the agent has said how often it wants to hear.
	firstHeartbeatEvery = 300 * time.Millisecond
	// --miner-timeout unless it is set: so long may nothing vouch for the work before that is told.
	quietAtFirst = 3 * time.Second
)

// Leader is what most of a program needs of an Elector: hold this, and hand in a Fake in tests.
type Leader interface {
	IsLeader() bool
	Grant() (Grant, bool)
	View() View
	OnElected(func(context.Context)) (remove func())
	OnLost(func(context.Context)) (remove func())
}

// Elector campaigns for one miner. Its methods may be called from any goroutine, and from the functions that it calls.
type Elector struct {
	agent, miner string
	log          *slog.Logger
	catchesUp    bool
	panics       bool
	extends      bool // asks for each grant, and does not campaign
	always       bool // has no agent

	now    atomic.Pointer[snapshot] // what callers read without a lock
	due    atomic.Bool              // a heartbeat is to be sent
	beaten atomic.Int64             // when Beat was last called, and last counted
	sent   atomic.Int64
	every  atomic.Int64 // how often the agent wants to hear

	mu        sync.Mutex
	said      said
	trouble   string             // why there is no stream
	last      Grant              // the last one that was sent on the present stream
	leading   bool               // and the agent says that it stands
	endedBy   uint64             // the version that ended it, unless it stands
	stopped   uint64             // nothing acts any more under this token and smaller ones: the miner's word
	givenUp   uint64             // nor does the miner lead under this one
	announced uint64             // the token of the term that was announced, until OnLost has returned
	cleaning  bool               // functions of OnLost run
	finished  bool               // Done was called: the last term is acknowledged when they have returned
	term      context.Context    // of the announced term
	endTerm   context.CancelFunc // ends it
	hangUp    context.CancelFunc // ends the present stream
	streams   bool               // there is one
	revision  uint32             // what the agent at its end understands
	late      []string           // pulses
	pulses    []*Pulse
	unvouched bool // nothing vouches for the work, and that was told
	started   bool
	withdrawn bool
	closing   bool
	unwatch   func() bool // leaves Start's context alone
	onElected functions[func(context.Context)]
	onLost    functions[func(context.Context)]
	onChange  functions[func(View)]
	tell      []snapshot // changes that were not told yet

	beats   chan struct{} // something is to be sent
	pulsed  chan struct{} // a pulse that was late is not
	changes chan struct{} // something that announce looks at is new
	news    chan struct{} // something is to be told
	quit    chan struct{} // closed: leave
	over    chan struct{} // closed: every term is over, and announced as lost
	done    chan struct{} // closed: the stream is gone
}

// New makes an elector for the agent at an address ("127.0.0.1:50051", which "" means too) or a socket
// ("unix:/run/understudy/grpc.sock"). The miner's name is for the agent's status.
func New(agent, miner string, options ...Option) *Elector {
	e := &Elector{
		agent: cmp.Or(agent, defaultAgent), miner: miner, log: slog.Default(), catchesUp: true,
		said: said{reason: "starting"}, hangUp: func() {}, endTerm: func() {}, unwatch: func() bool { return false },
		beats: make(chan struct{}, 1), pulsed: make(chan struct{}, 1), changes: make(chan struct{}, 1), news: make(chan struct{}, 1),
		quit: make(chan struct{}), over: make(chan struct{}), done: make(chan struct{}),
	}
	e.now.Store(&snapshot{view: View{Reason: e.said.reason}})
	e.every.Store(int64(firstHeartbeatEvery))
	for _, option := range options {
		option(e)
	}
	return e
}

// Start returns at once; an agent that is not there yet is waited for. When ctx ends, the elector is closed. The error says
// why nobody can lead here: this is not Linux, or the address is malformed.
func (e *Elector) Start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.started || e.closing {
		return errors.New("understudy: this elector was started or closed before, and starts once: make another with New")
	}
	campaigns := e.stand
	if !e.always {
		if err := supported(); err != nil {
			return err
		}
		conn, err := Dial(e.agent)
		if err != nil {
			return err
		}
		go e.tend()
		campaigns = func() { e.run(conn) }
		if e.extends {
			campaigns = func() { e.ask(conn) }
		}
	}
	e.started = true
	go e.report()
	go e.announce(context.WithoutCancel(ctx))
	go campaigns()
	e.unwatch = context.AfterFunc(ctx, e.Close)
	return nil
}

// Acknowledge says that nothing of the term with this token acts any more, and nothing will: the next leader
// need not wait for the end of its last grant. Optional, and only for when all work of the term has ended. If
// the term still stands, it ends.
func (e *Elector) Acknowledge(token uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.acknowledge(token)
}

func (e *Elector) acknowledge(token uint64) {
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

// Withdraw comes first when the miner is asked to end: from here on it neither leads nor is a candidate. The
// OnLost functions are called; the stream stays, since the miner's cleanup may still act. Done says when it does not.
func (e *Elector) Withdraw() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.withdraw()
}

func (e *Elector) withdraw() {
	if !e.withdrawn {
		e.withdrawn = true
		e.changed()
		wake(e.beats)
	}
}

// Done says that the caller has ended all that acted as leader: an Acknowledge of the last term, or of the present one, which
// ends. It counts once the OnLost functions have returned too, and returns at once.
func (e *Elector) Done() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.givenUp = max(e.givenUp, e.last.Token, e.announced)
	e.finished = true
	e.finish()
	e.changed()
}

// Once nothing of it acts any more, the last term is acknowledged.
func (e *Elector) finish() {
	if e.finished && e.announced == 0 {
		e.finished = false
		e.acknowledge(e.givenUp)
	}
}

// Close withdraws, and ends the campaign once the term was acknowledged or its last grant is over: then the lock goes to the
// next miner. It returns after that, at most --miner-timeout later, and waits for none of the functions: they may call it.
func (e *Elector) Close() {
	if e.leave() {
		<-e.done
	}
}

// CloseContext is Close that waits no longer than ctx does. The campaign still ends when it would have, if the process lives.
func (e *Elector) CloseContext(ctx context.Context) error {
	if e.leave() {
		select {
		case <-e.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Tells whether there is something to wait for.
func (e *Elector) leave() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closing {
		e.closing = true
		e.withdraw()
		close(e.quit)
		e.unwatch()
	}
	return e.started
}

// The agent's last grant is one to act on, as long as the clock allows it.
func (e *Elector) leads() bool {
	return e.leading && !e.withdrawn && !e.cleaning && e.last.Token > max(e.stopped, e.givenUp) &&
		(e.announced == 0 || e.announced == e.last.Token)
}

func (e *Elector) held() (Grant, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.leads() || !e.last.Holds() {
		return Grant{}, false
	}
	return e.last, true
}

// The miner lives and must not be elected: it is leaving, cleans up, or has given up a term that the agent still holds.
func (e *Elector) standsDown() bool {
	held := e.leads() && e.last.Holds()
	return e.withdrawn || e.cleaning || e.announced != 0 && !held || e.leading && e.last.Token <= max(e.stopped, e.givenUp)
}

// Something that announce looks at is new. The context of a term that is over ends here, at once.
func (e *Elector) changed() {
	if !e.leads() || !e.last.Holds() || e.last.Token != e.announced {
		e.endTerm()
	}
	e.publish()
	wake(e.changes)
}

// The version of which it is true that nothing begun before it still acts; 0: none is known.
func (e *Elector) acknowledged() uint64 {
	if !e.leading && e.last.Token != 0 && e.last.Token <= e.stopped {
		return e.endedBy
	}
	return 0
}

// Wakes the one that waits, or the next one that does.
func wake(whom chan struct{}) {
	select {
	case whom <- struct{}{}:
	default:
	}
}
