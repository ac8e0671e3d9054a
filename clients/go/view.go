package understudy

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	pb "understudy.example/understudy/understudyv1"
)

// Reasons of the elector's own, beside those of the agent.
const (
	ReasonNoAgent    = "no_agent"    // the agent is not reached, or refuses the campaign
	ReasonNoBeats    = "no_beats"    // nothing vouches for the miner's work, or a pulse is late
	ReasonCleaningUp = "cleaning_up" // functions of OnLost still run
	ReasonGrantEnded = "grant_ended" // the last grant ran out, and the agent has sent no other
	ReasonGivenUp    = "given_up"    // the miner gave this term up: acknowledged it, or a function of its own panicked
	ReasonWithdrawn  = "withdrawn"   // Withdraw or Close was called
)

// View is what the elector knows at one moment.
type View struct {
	// Leads: the miner may act now.
	Leads bool
	// Token of the term, while it leads.
	Token uint64
	// Role is the agent's: "leader", "standby", "idle", or "" when it is not known.
	Role string
	// Reason why the miner leads or does not: a word of the agent's, such as held_by_other, or one of those above.
	Reason string
	// Detail is more of that, for a reader: an error, or the pulses that are late.
	Detail string
	// Leader is the holder of the lock as last seen, Instance this agent's own name there.
	Leader, Instance string
	// Late names the pulses that keep the heartbeats back.
	Late []string
}

// What IsLeader, Grant and View read, and nobody changes.
type snapshot struct {
	grant Grant // zero unless the miner leads
	view  View
}

func (s *snapshot) holds() bool { return s.grant.Token != 0 && s.grant.Holds() }

// IsLeader tells whether the miner may act now. It is no heartbeat, takes no lock and may be called from anywhere, as
// often as one likes.
func (e *Elector) IsLeader() bool { return e.now.Load().holds() }

// Grant is IsLeader with the token, for writes that are fenced.
func (e *Elector) Grant() (Grant, bool) {
	now := e.now.Load()
	if !now.holds() {
		return Grant{}, false
	}
	return now.grant, true
}

// View tells who leads, and why this miner does or does not. As free as IsLeader.
func (e *Elector) View() View {
	now := e.now.Load()
	view := now.view
	view.Leads = now.holds()
	if !view.Leads {
		view.Token = 0
	}
	return view
}

// Derives the snapshot from the state, and tells of what has changed once the lock is free: the logger may be slow.
func (e *Elector) publish() {
	next := &snapshot{view: View{
		Role: e.said.role, Reason: e.said.reason, Leader: e.said.leader, Instance: e.said.instance, Late: e.late,
	}}
	view := &next.view
	if len(e.late) > 0 {
		view.Detail = "late: " + strings.Join(e.late, ", ")
	}
	switch {
	case e.withdrawn:
		view.Reason = ReasonWithdrawn
	case e.cleaning && e.leading, e.said.reason == "not_candidate":
		view.Reason = ReasonCleaningUp // else the agent's reason says more: why it is over
	case e.leading && e.last.Token <= max(e.stopped, e.givenUp):
		view.Reason = ReasonGivenUp
	case e.leads() && e.last.Holds():
		next.grant, view.Token = e.last, e.last.Token
	case len(e.late) > 0:
		view.Reason = ReasonNoBeats
	case e.unvouched:
		view.Reason, view.Detail = ReasonNoBeats,
			"nothing vouches for the work: call Beat from the loop that does it, or make a Pulse"
	case e.leading:
		view.Reason = ReasonGrantEnded
	case e.said.reason == "":
		view.Reason, view.Detail = ReasonNoAgent, e.trouble
	}
	last := e.now.Swap(next)
	if told(last) != told(next) {
		e.tell = append(e.tell, *next)
		wake(e.news)
	}
}

// What of a snapshot is worth a line.
func told(s *snapshot) string {
	return fmt.Sprint(s.grant.Token, s.view.Reason, s.view.Detail, s.view.Leader)
}

// Logs each change, and tells it to those who want to know, in order.
func (e *Elector) report() {
	led := false
	for {
		select {
		case <-e.news:
		case <-e.done:
		}
		e.mu.Lock()
		changes, watchers := e.tell, e.onChange.all()
		e.tell = nil
		e.mu.Unlock()
		for _, change := range changes {
			e.logChange(change.view, led)
			led = change.view.Token != 0
			for _, watcher := range watchers {
				view := change.view
				view.Leads = change.grant.Token != 0
				e.guard("OnChange", func() { watcher(view) })
			}
		}
		select {
		case <-e.done:
			if len(changes) == 0 {
				return
			}
		default:
		}
	}
}

func (e *Elector) logChange(now View, led bool) {
	level, line := slog.LevelInfo, "understudy: this miner leads"
	switch {
	case now.Token != 0 && now.Detail != "":
		level, line = slog.LevelWarn, line+", and sends no heartbeat: "+now.Detail
	case now.Token == 0:
		line = "understudy: no leadership: " + now.Reason
		if now.Detail != "" {
			line += ", " + now.Detail
		}
		if now.Leader != "" {
			line += ", " + now.Leader + " leads"
		}
		if alarming(now.Reason) || led && !planned(now.Reason) {
			level = slog.LevelWarn
		}
	}
	e.logs(level, line, slog.String("miner", e.miner), slog.String("reason", now.Reason),
		slog.String("leader", now.Leader), slog.String("instance", now.Instance), slog.Uint64("token", now.Token))
}

// A logger that panics has nowhere to say so: its line is lost, and nothing else.
func (e *Elector) logs(level slog.Level, line string, attrs ...slog.Attr) {
	defer func() { _ = recover() }()
	e.log.LogAttrs(context.Background(), level, line, attrs...)
}

func planned(reason string) bool {
	return slices.Contains([]string{ReasonWithdrawn, ReasonGivenUp, ReasonCleaningUp, "resigned", "draining"}, reason)
}

// Whether somebody must do something about it.
func alarming(reason string) bool {
	switch reason {
	case ReasonNoAgent, ReasonNoBeats, "eviction_policy", "miner_silent":
		return true
	}
	return strings.HasPrefix(reason, "redis_")
}

// What the agent said last.
type said struct{ role, reason, leader, instance string }

func heard(now *pb.Leadership) said {
	return said{
		role:     strings.ToLower(strings.TrimPrefix(now.GetRole().String(), "ROLE_")),
		reason:   strings.ToLower(strings.TrimPrefix(now.GetReason().String(), "REASON_")),
		leader:   now.GetLeaderId(),
		instance: now.GetInstanceId(),
	}
}
