package understudy

import "time"

// Grant is the right to act as leader, until it ends by itself.
type Grant struct {
	// Token grows from term to term. Send it with every write to a store that can refuse a smaller one than
	// it has seen.
	Token uint64
	// Until is when it ends, on CLOCK_BOOTTIME in nanoseconds.
	Until uint64

	endless bool // of Always and Fake: no clock ends it
}

// Holds tells whether the clock is still below the grant's end. Ask before every effect.
func (g Grant) Holds() bool { return g.endless || BootTime() < g.Until }

func (g Grant) left() time.Duration {
	if g.endless {
		return time.Hour
	}
	return time.Duration(g.Until - min(BootTime(), g.Until))
}
