//go:build !linux

package understudy

import (
	"errors"
	"fmt"
	"runtime"
)

// BootTime is later than every grant here: a deadline of the agent's means nothing without the clock that it shares.
func BootTime() uint64 { return ^uint64(0) }

func supported() error {
	return fmt.Errorf("understudy: no miner leads on %s, since grants end by Linux' CLOCK_BOOTTIME, which agent and "+
		"miner share; for development use understudy.Always: %w", runtime.GOOS, errors.ErrUnsupported)
}
