"""What vouches for the miner's work: its loop, its pulses, its checks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable

from .pulse import Pulse
from .state import State

# --miner-timeout unless it is set: so long may nothing vouch for the work before that is told.
QUIET_AT_FIRST = 3.0


class Vouching(State):
    """Takes the word of those who vouch for the work."""

    _loop: asyncio.AbstractEventLoop | None = None  # since it was started
    _thread = 0  # which runs it

    def _wake(self, event: asyncio.Event) -> None:
        """Sets it, from any thread."""
        if self._loop is None or threading.get_ident() == self._thread:
            event.set()
        elif not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # it was closed meanwhile
                self._loop.call_soon_threadsafe(event.set)

    def beat(self) -> None:
        """Tells the agent that the work loop turns.

        The miner is a candidate only while something vouches for it: call this from a loop that also turns while the miner
        stands by, several times a second, on any thread. What is more than the agent wants is not sent, and nothing is while a
        pulse is late.
        """
        self._beaten = now = time.monotonic()
        if now - self._sent >= self._every:
            self._sent, self._due = now, True
            self._wake(self._beats)

    def pulse(self, name: str, limit: float) -> Pulse:
        """Makes a standing pulse, which a standby beats too.

        Until its first beat(), and whenever the last one is longer ago than `limit` seconds, the miner is no candidate.
        """
        return self._pulse(name, limit, 0)

    def term_pulse(self, name: str, limit: float) -> Pulse:
        """Makes a pulse of the present term, which exists until that ends.

        It is stale until its first beat(), so beat it as soon as the work has begun. A standby has none of these: something
        else must vouch for it.
        """
        term = self._announced if not self._cleaning else 0
        return self._pulse(name, limit, term or -1)

    def beat_while(self, check: Callable[[], bool | Awaitable[bool]]) -> Pulse:
        """Runs a check of the miner's own as often as the agent wants to hear, and vouches for the work while it says yes."""
        pulse = self._pulse("check", None, 0)

        async def checks() -> None:
            while not (pulse.stopped or self._closing):
                try:
                    good = check()
                    if await good if isinstance(good, Awaitable) else good:
                        pulse.beat()
                except Exception as error:
                    self._failed_in(error, lambda: None)
                await asyncio.sleep(self._every)

        self._checks.append(asyncio.create_task(checks()))
        return pulse

    def _pulse(self, name: str, limit: float | None, token: int) -> Pulse:
        pulse = Pulse(name, limit, token, lambda: self._wake(self._pulsed), self._forget)
        if token >= 0:  # else there is no term whose pulse it could be
            self._pulses.append(pulse)
        return pulse

    def _forget(self, pulse: Pulse) -> None:
        self._pulses = [it for it in self._pulses if it is not pulse]
        self._late = tuple(it.name for it in self._pulses if it.name in self._late)
        self._publish()
        self._pulsed.set()

    async def _tend(self) -> None:
        """Sends heartbeats for the pulses, and tells when something holds them back."""
        quiet_since = time.monotonic()
        while True:
            try:
                await asyncio.wait_for(self._pulsed.wait(), self._every)
            except asyncio.TimeoutError:
                pass
            self._pulsed.clear()
            now = time.monotonic()
            if self._judge(now, now - quiet_since > QUIET_AT_FIRST):
                quiet_since = now

    def _judge(self, now: float, long_quiet: bool) -> bool:
        """Tells whether anything vouches for the work at all."""
        for pulse in self._pulses:
            pulse.late = not pulse.fresh(now, self._every)
        late = [pulse.name for pulse in self._pulses if pulse.late]
        if self._pulses and self._beaten and now - self._beaten > 3 * self._every:
            late.append("the loop that calls beat")  # it has begun, so it must go on
        sources = bool(self._pulses or self._beaten)
        unvouched = not sources and long_quiet and not self._extending
        if (tuple(late), unvouched) != (self._late, self._unvouched):
            self._late, self._unvouched = tuple(late), unvouched
            self._publish()
        if self._call and (late or self._stands_down()):
            self._beats.set()
        elif self._pulses and not late and now - self._sent >= self._every * 0.75:
            self._sent, self._due = now, True
            self._beats.set()
        return sources
