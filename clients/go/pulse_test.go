package understudy

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"
)

func TestPulsesBeatForWorkThatIsRare(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * ms}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	start(t, elector)
	blocks := elector.Pulse("blocks", time.Second)
	never(t, 100*ms, "a heartbeat before the first beat", func() bool { return agent.heard.Load() > 0 })
	blocks.Beat()
	leads(t, elector)
	never(t, 500*ms, "it does not lead between two blocks", func() bool { return !elector.IsLeader() })
	until(t, "the blocks end, and so does the term", func() bool { return !elector.IsLeader() })
}

func TestAllPulsesMustBeFreshAndTheLateOneIsNamed(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * ms}
	log := &lines{}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner", WithLogger(slog.New(log)))
	start(t, elector)
	blocks, other := elector.Pulse("blocks", time.Hour), elector.Pulse("other", 200*ms)
	blocks.Beat()
	until(t, "a term", func() bool {
		other.Beat()
		return elector.IsLeader()
	})
	until(t, "it is late", func() bool { late := elector.View().Late; return len(late) == 1 && late[0] == "other" })
	until(t, "the agent hears of it", func() bool { return agent.late.Load() == "other" })
	until(t, "the grant runs out", func() bool { return !elector.IsLeader() })
	until(t, "the log says so", func() bool { return log.count("sends no heartbeat: late: other") > 0 && log.count("no_beats") > 0 })
	before := agent.heard.Load()
	never(t, 100*ms, "the loop counts while a pulse is late", func() bool {
		elector.Beat()
		return agent.heard.Load() > before
	})
	stop := beats(elector) // it has begun, so it must go on
	defer stop()
	other.Stop()
	other.Stop()
	leads(t, elector)
}

func TestALateBeatIsSentAtOnce(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: time.Second, grants: time.Hour}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	start(t, elector)
	defer elector.Done()
	pulse := elector.Pulse("work", time.Hour)
	time.Sleep(400 * ms) // nothing more is due for a while
	began := time.Now()
	pulse.Beat()
	leads(t, elector)
	if took := time.Since(began); took > 200*ms {
		t.Errorf("it took %v", took)
	}
}

func TestAPulseOfATermEndsWithIt(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * ms, grants: 200 * ms}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	var terms atomic.Int64
	first := make(chan context.Context, 9)
	elector.OnElected(func(ctx context.Context) {
		if terms.Add(1) == 1 {
			elector.TermPulse(ctx, "publisher", 100*ms).Beat() // and never again
		}
		first <- ctx
	})
	none := elector.TermPulse(t.Context(), "no term", ms) // there is none
	none.Beat()
	none.Stop()
	start(t, elector)
	defer beats(elector)()
	term := <-first
	<-term.Done()
	until(t, "a term without it", func() bool { return terms.Load() == 2 && elector.IsLeader() })
	elector.TermPulse(term, "of the first term", ms)
	elector.mu.Lock()
	defer elector.mu.Unlock()
	if len(elector.pulses) > 0 {
		t.Error("a pulse of a term that is over counts")
	}
}

func TestBeatWhileVouchesWhileItsCheckSaysYes(t *testing.T) {
	t.Parallel()
	agent := &agent{elects: true, every: 10 * ms, grants: 100 * ms}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner")
	start(t, elector)
	var says atomic.Int64
	hang := make(chan struct{})
	defer close(hang)
	elector.BeatWhile(func() bool {
		switch says.Load() {
		case 1:
			return true
		case 2:
			panic("the check itself is broken")
		case 3:
			<-hang
		}
		return false
	})
	for _, wrong := range []int64{0, 2, 3} {
		says.Store(1)
		leads(t, elector)
		says.Store(wrong)
		until(t, "the grant runs out", func() bool { return !elector.IsLeader() })
	}
}

func TestWithoutAnythingThatVouchesAWarningSaysWhatToCall(t *testing.T) {
	t.Parallel()
	log := &lines{}
	agent := &agent{elects: true, every: 10 * ms}
	elector := New(agent.serve(t, "127.0.0.1:0"), "miner", WithLogger(slog.New(log)))
	start(t, elector)
	stop := ask(elector)
	defer stop()
	const line = "WARN understudy: no leadership: no_beats, nothing vouches for the work: call Beat"
	until(t, "the line", func() bool { return log.count(line) == 1 })
	pulse := elector.Pulse("work", time.Hour)
	pulse.Beat()
	leads(t, elector)
}
