"""The right to act, and the clock that ends it."""

from __future__ import annotations

import time
from dataclasses import dataclass

CLOCK = getattr(time, "CLOCK_BOOTTIME", None)  # Linux' alone
NEVER = 2**64 - 1


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

    def holds(self) -> bool:
        """Whether the clock is still below its end. Ask before every effect."""
        return self.endless or boottime_ns() < self.until

    def left(self) -> float:
        """Seconds until its end."""
        return 3600.0 if self.endless else max(0, self.until - boottime_ns()) / 1e9


NO_GRANT = Grant(token=0, until=0)
