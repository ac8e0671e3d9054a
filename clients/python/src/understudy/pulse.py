"""What vouches for the miner's work."""

from __future__ import annotations

import time
from typing import Callable


class Pulse:
    """Vouches for one thing that must go on.

    While pulses exist the elector sends the heartbeats itself, as long as all of them are fresh. One is stale until its
    first beat().
    """

    def __init__(self, name: str, limit: float | None, token: int, wake: Callable[[], None], stop: Callable[[Pulse], None]):
        # Without a limit above 0 no beat is ever fresh enough: where it is told as late, it says why.
        why = "" if limit is None or limit > 0 else f" (its limit is {limit:g})"
        self.name, self.token, self.stopped = name + why, token, False
        self._limit, self._wake, self._stop = limit, wake, stop
        self._beaten: float | None = None
        self.late = True

    def beat(self) -> None:
        """Says that it goes on. From any thread."""
        self._beaten = time.monotonic()
        if self.late and not self.stopped:
            self._wake()

    def stop(self) -> None:
        """Ends the pulse: it need not be fresh any more, and vouches for nothing."""
        self.stopped = True
        self._stop(self)

    def fresh(self, now: float, every: float) -> bool:
        """Whether it was beaten within its limit, or within two heartbeats if it has none."""
        limit = 2 * every if self._limit is None else self._limit
        return self._beaten is not None and now - self._beaten <= limit
