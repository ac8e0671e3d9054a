package understudy

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"
)

// Two terms and a slow cleanup between them: beside a new agent it stands down, beside an old one it is silent.
func TestNoTermWhileOnLostRuns(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{false, true} {
		agent := &agent{elects: true, every: 10 * ms, old: old, grants: 200 * ms}
		elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
		terms, cleaning := make(chan uint64, 9), make(chan struct{})
		elector.OnElected(func(ctx context.Context) {
			token, _ := TokenOf(ctx)
			terms <- token
		})
		elector.OnLost(func(context.Context) { <-cleaning })
		start(t, elector)
		pulse := elector.Pulse("work", 50*ms)
		pulse.Beat()
		<-terms
		until(t, "the work hangs, and the grant runs out", func() bool { return elector.View().Reason == ReasonCleaningUp })
		before := agent.heard.Load()
		go func() {
			for range time.Tick(5 * ms) {
				pulse.Beat() // it goes on
				elector.Beat()
			}
		}()
		never(t, 300*ms, "it leads while OnLost runs", elector.IsLeader)
		if now := agent.heard.Load(); now > before {
			t.Errorf("old agent: %t: %d heartbeats while OnLost runs", old, now-before)
		}
		if stood := agent.stood.Load(); (stood == 0) != old {
			t.Errorf("old agent: %t: it stood down %d times", old, stood)
		}
		close(cleaning)
		leads(t, elector)
		<-terms
	}
}

func TestWithdrawComesFirstAndDoneAcknowledgesWhenAllIsOver(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * ms, grants: time.Hour}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	elected, lost, cleaning := make(chan struct{}), make(chan struct{}), make(chan struct{})
	elector.OnElected(func(context.Context) { close(elected) })
	elector.OnLost(func(context.Context) {
		close(lost)
		<-cleaning
	})
	start(t, elector)
	defer beats(elector)()
	within(t, soon, "a term", elected)
	elector.Withdraw()
	if elector.IsLeader() || elector.View().Reason != ReasonWithdrawn {
		t.Errorf("it leads after Withdraw: %+v", elector.View())
	}
	within(t, soon, "OnLost is called", lost)
	until(t, "it stands down", func() bool { return agent.stood.Load() > 0 })
	elector.Done()
	never(t, 100*ms, "acknowledged while OnLost runs", func() bool { return agent.acked.Load() > 0 })
	close(cleaning)
	until(t, "it is acknowledged", func() bool { return agent.acked.Load() > 0 })
	before := agent.heard.Load()
	never(t, 100*ms, "a heartbeat after Withdraw", func() bool { return agent.heard.Load() > before })
	closes(t, elector)
}

func TestDoneGivesUpTheTermThatStands(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * ms, grants: time.Hour}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	var lost atomic.Int64
	elected := make(chan struct{})
	elector.OnElected(func(context.Context) { close(elected) })
	elector.OnLost(func(context.Context) { lost.Add(1) })
	start(t, elector)
	elector.Beat()
	within(t, soon, "a term", elected)
	elector.Done()
	if elector.IsLeader() {
		t.Error("it leads after Done")
	}
	elector.Withdraw()
	closes(t, elector)
	until(t, "OnLost is called", func() bool { return lost.Load() == 1 })
}

func TestAnOnElectedThatIsAddedLateRunsForTheTermThatRuns(t *testing.T) {
	t.Parallel()
	address := (&agent{elects: true, every: 10 * ms}).serve(t, "127.0.0.1:0")
	for _, catchesUp := range []bool{true, false} {
		var options []Option
		if !catchesUp {
			options = append(options, WithoutCatchUp())
		}
		elector := New(address, "miner", options...)
		announced := make(chan struct{})
		elector.OnElected(func(context.Context) { close(announced) })
		start(t, elector)
		defer beats(elector)()
		within(t, soon, "a term", announced)
		late := make(chan struct{}, 1)
		remove := elector.OnElected(func(context.Context) { late <- struct{}{} })
		if catchesUp {
			within(t, soon, "it runs", late)
		} else {
			never(t, 100*ms, "it runs", func() bool { return len(late) > 0 })
		}
		remove()
		remove()
		if n := len(elector.onElected.all()); n != 1 {
			t.Errorf("%d functions after one was removed", n)
		}
	}
}

func TestAPanicIsLoggedAndEndsTheTerm(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * ms, grants: time.Hour}
	log := &lines{}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner", WithLogger(slog.New(log)))
	var terms atomic.Int64
	lost := make(chan struct{}, 9)
	elector.OnElected(func(context.Context) {
		if terms.Add(1) == 1 {
			panic("no such table")
		}
	})
	elector.OnLost(func(context.Context) {
		lost <- struct{}{}
		panic("nor that one")
	})
	start(t, elector)
	defer beats(elector)()
	within(t, soon, "the term ends", lost)
	until(t, "it stands down", func() bool { return agent.stood.Load() > 0 })
	until(t, "the next term", func() bool { return terms.Load() == 2 && elector.IsLeader() })
	until(t, "both are logged", func() bool { return log.count("ERROR understudy: a function of the miner's panicked") == 2 })
	elector.Acknowledge(1 << 60)
}

func TestALoggerThatPanicsHarmsNobody(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * ms, grants: time.Hour}
	var asked, terms atomic.Int64
	log := &lines{asks: func() {
		asked.Add(1)
		panic("the disk is full")
	}}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner", WithLogger(slog.New(log)))
	elector.OnElected(func(context.Context) {
		if terms.Add(1) == 1 {
			panic("no such table")
		}
	})
	start(t, elector)
	defer beats(elector)()
	until(t, "the next term", func() bool { return terms.Load() == 2 && elector.IsLeader() })
	until(t, "it was asked for each line", func() bool { return asked.Load() > 2 })
	elector.Acknowledge(1 << 60)
}

func TestOnChangeAndTheLogTellEachChangeOnce(t *testing.T) {
	t.Parallel()
	agent := &agent{every: 10 * ms}
	address := agent.serve(t, "127.0.0.1:0")
	log := &lines{}
	elector := New(address, "miner", WithLogger(slog.New(log)))
	log.asks = func() { elector.IsLeader() }
	changes := make(chan View, 99)
	elector.OnChange(func(view View) { changes <- view })
	start(t, elector)
	defer beats(elector)()
	until(t, "who leads", func() bool { return elector.View().Leader == "other-1" })
	agent.silent.Lock()
	agent.elects = true
	agent.silent.Unlock()
	leads(t, elector)
	until(t, "the line", func() bool { return log.count("INFO understudy: this miner leads") == 1 })
	if n := log.count("no leadership: held_by_other, other-1 leads"); n != 1 {
		t.Errorf("told %d times", n)
	}
	for view := range changes {
		if view.Leads {
			if view.Token == 0 || view.Reason != "elected" || view.Role != "leader" || view.Leader != "me-1" {
				t.Errorf("%+v", view)
			}
			break
		}
	}
}

func TestTheModeForProbeAndAlways(t *testing.T) {
	t.Parallel()
	probes := &agent{extends: true, every: 10 * ms}
	elector := New(probes.serve(t, "127.0.0.1:0"), "miner", Extending())
	lost := make(chan struct{})
	elector.OnLost(func(context.Context) { close(lost) })
	start(t, elector)
	leads(t, elector)
	pulse := elector.Pulse("work", time.Hour) // stale: nothing is extended any more
	within(t, soon, "the grant runs out", lost)
	pulse.Stop()
	leads(t, elector)
	elector.Withdraw()
	closes(t, elector)

	log := &lines{}
	campaigns := &agent{elects: true, every: 10 * ms}
	wrong := New(campaigns.serve(t, "127.0.0.1:0"), "miner", Extending(), WithLogger(slog.New(log)))
	start(t, wrong)
	until(t, "it says what is wrong", func() bool {
		return log.count("WARN understudy: no leadership: no_agent, ") == 1 &&
			log.count("make the elector without understudy.Extending()") == 1
	})
	wrong = New(probes.serve(t, "127.0.0.1:0"), "miner", WithLogger(slog.New(log)))
	start(t, wrong)
	defer beats(wrong)()
	until(t, "it says what is wrong", func() bool { return log.count("make the elector with understudy.Extending()") == 1 })
}

func TestAlwaysLeadsAndAFakeWhenToldTo(t *testing.T) {
	t.Parallel()
	always := Always("laptop")
	elected := make(chan struct{})
	always.OnElected(func(context.Context) { close(elected) })
	start(t, always)
	within(t, soon, "it is elected", elected)
	if grant, ok := always.Grant(); !ok || !grant.Holds() {
		t.Error("it does not lead")
	}
	always.Withdraw()
	if always.IsLeader() {
		t.Error("it leads after Withdraw")
	}
	fake := NewFake("test")
	lost := make(chan struct{}, 1)
	fake.OnLost(func(context.Context) { lost <- struct{}{} })
	var leader Leader = fake
	start(t, fake.Elector)
	if leader.IsLeader() {
		t.Error("nobody has elected it")
	}
	if token := fake.Elect(); !leader.IsLeader() || fake.View().Token != token {
		t.Error("it does not lead")
	}
	until(t, "it is announced", func() bool { return fake.Elector.announcedNow() })
	fake.Lose("lock_lost")
	within(t, soon, "it is lost", lost)
	if view := fake.View(); view.Leads || fake.IsLeader() {
		t.Errorf("%+v", view)
	}
}

func (e *Elector) announcedNow() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.announced != 0
}

func TestStartSaysWhyNobodyLeadsHere(t *testing.T) {
	if err := supported(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
