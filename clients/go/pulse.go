package understudy

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

var beginning = time.Now()

// Moments of the runtime's own monotonic clock; 0 is none.
func moment() int64 { return int64(time.Since(beginning)) + 1 }

// Pulse vouches for one thing that must go on. While pulses exist the elector sends the heartbeats itself, as long as all of
// them are fresh.
type Pulse struct {
	elector *Elector
	name    string
	limit   time.Duration
	check   bool   // it has none: two heartbeats
	token   uint64 // of the term for whose length it exists; 0: it is a standing one
	beaten  atomic.Int64
	late    atomic.Bool
	stop    chan struct{}
}

// Beat tells the agent that the work loop turns. The miner is a candidate only while something vouches for it: call this from
// a loop that also turns while the miner stands by, several times a second. What is more than the agent wants is not
// sent, and nothing is while a Pulse is late.
func (e *Elector) Beat() {
	now := moment()
	e.beaten.Store(now)
	if sent := e.sent.Load(); (sent == 0 || now-sent >= e.every.Load()) && e.sent.CompareAndSwap(sent, now) {
		e.due.Store(true)
		wake(e.beats)
	}
}

// Pulse makes a standing pulse, which a standby beats too: until its first Beat, and whenever the last one is longer ago than
// limit, the miner is no candidate.
func (e *Elector) Pulse(name string, limit time.Duration) *Pulse {
	return e.pulse(&Pulse{name: name, limit: limit})
}

// TermPulse makes a pulse of the term that the context of an OnElected function belongs to, or of the present one: it exists
// until that ends. It is stale until its first Beat, so beat it as soon as the work has begun. A standby has none of
// these: something else must vouch for it.
func (e *Elector) TermPulse(ctx context.Context, name string, limit time.Duration) *Pulse {
	token, ok := TokenOf(ctx)
	p := &Pulse{name: name, limit: limit, token: token, elector: e, stop: make(chan struct{})}
	e.mu.Lock()
	if !ok {
		p.token = e.announced
	}
	exists := p.token != 0 && p.token == e.announced && !e.cleaning
	e.mu.Unlock()
	if !exists {
		return p
	}
	return e.pulse(p)
}

// BeatWhile runs a check of the miner's own as often as the agent wants to hear, and vouches for the work while it says yes.
// A check that hangs says nothing.
func (e *Elector) BeatWhile(check func() bool) *Pulse {
	p := e.pulse(&Pulse{name: "check", check: true})
	go func() {
		for {
			good := false
			e.guard("BeatWhile", func() { good = check() })
			if good {
				p.Beat()
			}
			select {
			case <-time.After(time.Duration(e.every.Load())):
			case <-p.stop:
				return
			case <-e.quit:
				return
			}
		}
	}()
	return p
}

func (e *Elector) pulse(p *Pulse) *Pulse {
	if p.stop == nil {
		p.elector, p.stop = e, make(chan struct{})
	}
	if p.limit <= 0 && !p.check {
		// No beat is ever fresh enough: where it is told as late, it says why.
		p.name = fmt.Sprintf("%s (its limit is %v)", p.name, p.limit)
	}
	p.late.Store(true)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pulses = append(slices.Clone(e.pulses), p)
	return p
}

// Beat says that it goes on.
func (p *Pulse) Beat() {
	p.beaten.Store(moment())
	if p.late.Load() {
		wake(p.elector.pulsed)
	}
}

// Stop ends the pulse: it need not be fresh any more, and vouches for nothing.
func (p *Pulse) Stop() {
	p.elector.mu.Lock()
	defer p.elector.mu.Unlock()
	p.elector.forget(func(it *Pulse) bool { return it == p })
}

func (e *Elector) forget(which func(*Pulse) bool) {
	var kept []*Pulse
	var late []string
	for _, p := range e.pulses {
		switch {
		case which(p):
			close(p.stop)
		case slices.Contains(e.late, p.name):
			late = append(late, p.name)
			fallthrough
		default:
			kept = append(kept, p)
		}
	}
	e.pulses, e.late = kept, late
	e.publish()
	wake(e.pulsed)
}

func (p *Pulse) fresh(now, every int64) bool {
	beaten, limit := p.beaten.Load(), int64(p.limit)
	if p.check {
		limit = 2 * every
	}
	return beaten != 0 && limit > 0 && now-beaten <= limit
}

// Sends heartbeats for the pulses, and tells when something holds them back.
func (e *Elector) tend() {
	quietSince := moment()
	for {
		select {
		case <-time.After(time.Duration(e.every.Load())):
		case <-e.pulsed:
		case <-e.done:
			return
		}
		now := moment()
		if e.judge(now, now-quietSince > int64(quietAtFirst)) {
			quietSince = now
		}
	}
}

// Tells whether anything vouches for the work at all.
func (e *Elector) judge(now int64, longQuiet bool) (sources bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	every, beaten := e.every.Load(), e.beaten.Load()
	var late []string
	for _, p := range e.pulses {
		fresh := p.fresh(now, every)
		p.late.Store(!fresh)
		if !fresh {
			late = append(late, p.name)
		}
	}
	// Who beats by hand too, goes on doing so.
	if len(e.pulses) > 0 && beaten != 0 && now-beaten > 3*every {
		late = append(late, "the loop that calls Beat")
	}
	sources = len(e.pulses) > 0 || beaten != 0
	unvouched := !sources && longQuiet && !e.extends
	if !slices.Equal(late, e.late) || unvouched != e.unvouched {
		e.late, e.unvouched = late, unvouched
		e.publish()
	}
	switch {
	case e.streams && (len(late) > 0 || e.standsDown()):
		wake(e.beats)
	case len(e.pulses) > 0 && len(late) == 0 && now-e.sent.Load() >= every*3/4:
		e.sent.Store(now)
		e.due.Store(true)
		wake(e.beats)
	}
	return sources
}
