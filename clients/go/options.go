package understudy

import "log/slog"

// Option changes how an Elector is made.
type Option func(*Elector)

// WithLogger is where the elector tells of each change, in place of slog.Default. The logger may ask the elector;
// a line at which it panics is lost.
func WithLogger(log *slog.Logger) Option { return func(e *Elector) { e.log = log } }

// WithoutCatchUp keeps an OnElected function that is added while the miner leads from running for that term. It is for
// programs that ask IsLeader right after they have added it, and begin the work themselves.
func WithoutCatchUp() Option { return func(e *Elector) { e.catchesUp = false } }

// WithPanics lets a panic in a function of the miner's end the process. Without it the panic is logged and ends the term.
func WithPanics() Option { return func(e *Elector) { e.panics = true } }

// Extending asks the agent for each grant, in place of campaigning: for --miner-liveness=probe and always.
func Extending() Option { return func(e *Elector) { e.extends = true } }
