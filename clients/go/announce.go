package understudy

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Functions that were added and may be removed.
type functions[F any] struct{ added []*F }

func (f *functions[F]) add(function F) *F {
	f.added = append(f.added, &function)
	return &function
}

func (f *functions[F]) remove(function *F) {
	f.added = slices.DeleteFunc(slices.Clone(f.added), func(it *F) bool { return it == function })
}

func (f *functions[F]) all() []F {
	all := make([]F, 0, len(f.added))
	for _, function := range f.added {
		all = append(all, *function)
	}
	return all
}

// OnElected adds a function for the beginning of a term. It runs in a goroutine of its own; its context ends
// with the term, and has ended before Acknowledge returns. Added while the miner leads, it runs for that term too.
func (e *Elector) OnElected(f func(context.Context)) (remove func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	added := e.onElected.add(f)
	if e.catchesUp && e.announced != 0 && e.term.Err() == nil {
		token, term := e.announced, e.term
		go e.elected(token, term, f)
	}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.onElected.remove(added)
	}
}

// OnLost adds a function for the end of a term, whatever ended it. It runs in a goroutine of its own. The miner is no
// candidate until all of them have returned.
func (e *Elector) OnLost(f func(context.Context)) (remove func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	added := e.onLost.add(f)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.onLost.remove(added)
	}
}

// OnChange adds a function that is told of each change, one after the other.
func (e *Elector) OnChange(f func(View)) (remove func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	added := e.onChange.add(f)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.onChange.remove(added)
	}
}

type tokenKey struct{}

// TokenOf gives the token of the term that the context of an OnElected function belongs to.
func TokenOf(ctx context.Context) (token uint64, ok bool) {
	token, ok = ctx.Value(tokenKey{}).(uint64)
	return token, ok
}

// Calls the miner's functions in the order of what happened.
func (e *Elector) announce(ctx context.Context) {
	defer e.end()
	var token uint64 // of the term that was announced
	for {
		grant, leads := e.held()
		if token != 0 && grant.Token != token {
			select {
			case <-e.lost(ctx):
			case <-e.quit: // there is no next term, and one of them may be what called Close
			}
			token = 0
			continue
		}
		var ends <-chan time.Time
		if leads {
			ends = time.After(grant.left())
			if token == 0 && e.begin(ctx, grant.Token) {
				token = grant.Token
				continue
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

// A term begins, unless it was given up meanwhile.
func (e *Elector) begin(ctx context.Context, token uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.leads() || e.last.Token != token {
		return false
	}
	e.announced = token
	e.term, e.endTerm = context.WithCancel(context.WithValue(ctx, tokenKey{}, token))
	for _, f := range e.onElected.all() {
		go e.elected(token, e.term, f)
	}
	return true
}

func (e *Elector) elected(token uint64, term context.Context, f func(context.Context)) {
	if e.guard("OnElected", func() { f(term) }) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.announced == token {
		e.givenUp = max(e.givenUp, token)
		e.changed()
		wake(e.beats)
	}
}

// The announced term is over: calls the functions, and tells when all have returned.
func (e *Elector) lost(ctx context.Context) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.endTerm()
	e.cleaning = true
	e.forget(func(p *Pulse) bool { return p.token != 0 })
	e.changed()
	wake(e.beats)
	var running sync.WaitGroup
	for _, f := range e.onLost.all() {
		running.Go(func() { e.guard("OnLost", func() { f(ctx) }) })
	}
	returned := make(chan struct{})
	go func() {
		running.Wait()
		e.cleaned()
		close(returned)
	}()
	return returned
}

// The miner has cleaned up.
func (e *Elector) cleaned() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cleaning, e.announced = false, 0
	e.finish()
	e.changed()
	wake(e.beats)
}

// Every term is over: the stream may end.
func (e *Elector) end() {
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
		if last.Token <= stopped || last.endless || !last.Holds() || e.extends {
			return
		}
		select {
		case <-e.changes:
		case <-time.After(last.left()):
		}
	}
}

// Runs a function of the miner's. False: it panicked, and that was told.
func (e *Elector) guard(what string, f func()) (returned bool) {
	if e.panics {
		f()
		return true
	}
	defer func() {
		if !returned {
			e.logs(slog.LevelError, "understudy: a function of the miner's panicked", slog.String("function", what),
				slog.String("miner", e.miner), slog.Any("panic", recover()), slog.String("stack", string(debug.Stack())))
		}
	}()
	f()
	return true
}
