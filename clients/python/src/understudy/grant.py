"""The right to act, and the clock that ends it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

CLOCK = getattr(time, "CLOCK_BOOTTIME", None)  # Linux' alone
NEVER = 2**64 - 1

_forks = 0  # between the first process and this one


def _forked() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):  # Unix
    os.register_at_fork(after_in_child=_forked)


def boottime_ns() -> int:
    """CLOCK_BOOTTIME in nanoseconds: the clock that miner and agent share. Elsewhere it is later than every grant."""
    return NEVER if CLOCK is None else time.clock_gettime_ns(CLOCK)


@dataclass(frozen=True)
class Grant:
    """The right to act as leader, until it ends by itself."""

    token: int
    """Grows from term to term. Send it with every write to a store that can refuse a smaller one than it has seen."""
    until: int
    """When it ends, on CLOCK_BOOTTIME in nanoseconds."""
    endless: bool = False
    """Of Always and Fake: no clock ends it."""
    forks: int = field(default_factory=lambda: _forks, repr=False, compare=False)
    """It is this process' own, and never a forked child's: the agent takes the end of the parent for the end of the work."""

    def holds(self) -> bool:
        """Whether the clock is still below its end. Ask before every effect."""
        return self.endless or (boottime_ns() < self.until and self.forks == _forks)

    def left(self) -> float:
        """Seconds until its end."""
        return 3600.0 if self.endless else max(0, self.until - boottime_ns()) / 1e9


NO_GRANT = Grant(token=0, until=0)
