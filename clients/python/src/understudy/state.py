"""What the elector knows, and what follows from it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable
from functools import partial

import grpc

from .grant import NO_GRANT, Grant
from .pulse import Pulse
from .view import CLEANING_UP, GIVEN_UP, GRANT_ENDED, NO_AGENT, NO_BEATS, WITHDRAWN, View

# Until the agent has said how often it wants to hear.
FIRST_HEARTBEAT_EVERY = 0.3


class State:
    """What all parts of Elector share."""

    def __init__(self, agent: str, miner: str, log: logging.Logger, extending: bool, fatal_errors: bool):
        self._agent, self._miner, self._log = agent, miner, log
        self._extending, self._fatal = extending, fatal_errors
        self._on_change: list[Callable[[View], None]] = []
        self._role, self._reason, self._leader, self._instance = "", "starting", "", ""
        self._trouble = ""  # why there is no stream
        self._told = self._now = View()
        self._grant = NO_GRANT  # what those who ask read: unless the miner leads there is none
        self._last = NO_GRANT  # the last one that was sent on the present stream
        self._leading = False  # and the agent says that it stands
        self._ended_by = 0  # the version that ended it, unless it stands
        self._stopped = 0  # nothing acts any more under this token and smaller ones: the miner's word
        self._given_up = 0  # nor does the miner lead under this one
        self._announced = 0  # the token of the term that was announced, until its end was cleaned up
        self._cleaning = False  # the callbacks of its end run
        self._withdrawn = self._closing = False
        self._every = FIRST_HEARTBEAT_EVERY
        self._beaten = 0.0  # when beat() was last called, and last counted
        self._sent = 0.0
        self._due = False  # a heartbeat is to be sent
        self._pulses: list[Pulse] = []
        self._late: tuple[str, ...] = ()
        self._unvouched = False  # nothing vouches for the work, and that was told
        self._revision = 0  # what the agent at the end of the stream understands
        self._call: grpc.aio.StreamStreamCall | None = None
        self._beats = asyncio.Event()  # something is to be sent
        self._pulsed = asyncio.Event()  # a pulse that was late is not
        self._changes = asyncio.Event()  # something that _announce looks at is new
        self._checks: list[asyncio.Task[None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def _leads(self) -> bool:
        """The agent's last grant is one to act on, as long as the clock allows it."""
        return (
            self._leading
            and not self._withdrawn
            and not self._cleaning
            and self._last.token > max(self._stopped, self._given_up)
            and self._announced in (0, self._last.token)
        )

    def _held(self) -> Grant | None:
        last = self._last
        return last if self._leads() and last.holds() else None

    def _stands_down(self) -> bool:
        """It lives and must not be elected: it leaves, cleans up, or has given up a term that the agent still holds."""
        given_up = self._leading and self._last.token <= max(self._stopped, self._given_up)
        return self._withdrawn or self._cleaning or given_up or bool(self._announced) and self._held() is None

    def _changed(self) -> None:
        self._publish()
        self._changes.set()

    def _publish(self) -> None:
        """Derives the view from the state, and tells of what has changed."""
        held = self._held()
        self._grant = held or NO_GRANT
        detail = "late: " + ", ".join(self._late) if self._late else ""
        reason = self._reason
        if self._withdrawn:
            reason = WITHDRAWN
        elif self._cleaning and self._leading or reason == "not_candidate":
            reason = CLEANING_UP  # else the agent's reason says more: why it is over
        elif self._leading and self._last.token <= max(self._stopped, self._given_up):
            reason = GIVEN_UP
        elif held:
            pass
        elif self._late:
            reason = NO_BEATS
        elif self._unvouched:
            reason, detail = NO_BEATS, "nothing vouches for the work: call beat() from the loop that does it, or make a pulse"
        elif self._leading:
            reason = GRANT_ENDED
        elif not reason:
            reason, detail = NO_AGENT, self._trouble
        self._now = View(
            held is not None, held.token if held else 0, self._role, reason, detail, self._leader, self._instance, self._late
        )
        last, now = self._told, self._now
        if (last.token, last.reason, last.detail, last.leader) != (now.token, now.reason, now.detail, now.leader):
            self._told = now
            level, line = now.line(last.leads)
            self._logs(level, "%s: %s", self._miner, line)
            for listener in list(self._on_change):
                self._guard(partial(listener, now))

    def _logs(self, level: int, line: str, *words: object, exc_info: BaseException | None = None) -> None:
        """A logger that raises has nowhere to say so: its line is lost, and nothing else."""
        with contextlib.suppress(Exception):
            self._log.log(level, line, *words, exc_info=exc_info)

    def _guard(self, function: Callable[[], object], fails: Callable[[], None] = lambda: None) -> object:
        try:
            return function()
        except Exception as error:
            self._failed_in(error, fails)
            return None

    def _failed_in(self, error: Exception, fails: Callable[[], None]) -> None:
        self._logs(logging.ERROR, "a callback failed", exc_info=error)
        fails()
        if self._fatal:
            asyncio.get_running_loop().call_soon(sys.exit, 1)  # the one way out of a loop that no task takes for its own
