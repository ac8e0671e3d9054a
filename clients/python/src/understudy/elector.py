"""Campaigns for one miner. All of it runs in one asyncio loop, the miner's."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from .campaign import Campaigns, open_channel
from .grant import CLOCK, Grant
from .view import View
from .vouching import Vouching

# Where the agent listens unless it is told otherwise.
DEFAULT_AGENT = "127.0.0.1:50051"

Listener = Callable[[], Awaitable[None] | None]
Own = TypeVar("Own", bound="Elector")

# The callback in whose task, or a task of its own, something runs.
_CALLBACK: contextvars.ContextVar[asyncio.Task[None] | None] = contextvars.ContextVar("callback", default=None)


class Elector(Vouching, Campaigns):
    """Campaigns for one miner.

    Use it from the loop in which it was started. is_leader(), grant(), view() and what vouches may be called on any thread; in
    a child that the process forks nobody leads.

    `agent` is an address ("127.0.0.1:50051", which "" and None mean too) or a socket ("unix:/run/understudy/grpc.sock"); the
    miner's name is for the agent's status. `on_elected` and `on_lost` are as the methods of these names. `extending` is for
    --miner-liveness=probe and always: it asks for each grant, in place of campaigning. A callback that raises is logged and ends
    its term; with `fatal_errors` it ends the process: SystemExit leaves the loop.
    """

    _has_agent = True

    def __init__(
        self,
        agent: str | None,
        miner: str,
        *,
        on_elected: Listener | None = None,
        on_lost: Listener | None = None,
        logger: logging.Logger | None = None,
        extending: bool = False,
        catch_up: bool = True,
        fatal_errors: bool = False,
    ):
        super().__init__(agent or DEFAULT_AGENT, miner, logger or logging.getLogger("understudy"), extending, fatal_errors)
        self._catches_up = catch_up
        self._on_elected: list[Listener] = [on_elected] if on_elected else []
        self._on_lost: list[Listener] = [on_lost] if on_lost else []
        self._finished = False  # done() was called: the last term is acknowledged when they have returned
        self._tending: asyncio.Task[None] | None = None
        self._term: set[asyncio.Task[None]] = set()  # of the callbacks of the present term
        self._telling: set[asyncio.Task[None]] = set()  # of all callbacks that run
        self._closers: set[asyncio.Task[None]] = set()  # those of them that wait for close()
        self._cleaners: set[asyncio.Task[None]] = set()  # what waits for those of a term's end

    async def __aenter__(self: Own) -> Own:
        """Starts; an agent that is not there yet is waited for. Raises if `agent` is no address, or this is not Linux."""
        if self._tasks or self._closing:
            raise RuntimeError("this elector was started or closed before, and starts once: make another")
        if self._has_agent and CLOCK is None:
            raise OSError(
                f"no miner leads on {sys.platform}, since grants end by Linux' CLOCK_BOOTTIME, which agent and miner share; "
                "for development use understudy.Always"
            )
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        channel = open_channel(self._agent)
        campaigns = self._ask(channel) if self._extending and self._has_agent else self._run(channel)
        self._tasks = [asyncio.create_task(self._announce()), asyncio.create_task(campaigns)]
        if self._has_agent:
            self._tending = asyncio.create_task(self._tend())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # === Asking, which is no heartbeat

    def is_leader(self) -> bool:
        """Whether the miner may act now. It vouches for nothing, and may be asked from anywhere, as often as one likes."""
        return self._grant.holds()

    def grant(self) -> Grant | None:
        """is_leader() with the token, for writes that are fenced."""
        grant = self._grant
        return grant if grant.holds() else None

    def view(self) -> View:
        """Who leads, and why this miner does or does not."""
        held = self.grant()
        return replace(self._now, leads=held is not None, token=held.token if held else 0)

    # === A term, from its beginning to its end

    def on_elected(self, listener: Listener) -> Callable[[], None]:
        """Adds a callback for the beginning of a term, in a task of its own, which is cancelled when the term ends.

        Added while the miner leads, it runs for that term too. Returns what removes it.
        """
        self._on_elected.append(listener)
        if self._catches_up and self._announced and not self._cleaning:
            self._begin(listener, self._announced)
        return lambda: _remove(self._on_elected, listener)

    def on_lost(self, listener: Listener) -> Callable[[], None]:
        """Adds a callback for the end of a term. The miner is no candidate until all of them have returned."""
        self._on_lost.append(listener)
        return lambda: _remove(self._on_lost, listener)

    def on_change(self, listener: Callable[[View], None]) -> Callable[[], None]:
        """Adds a callback that is told of each change."""
        self._on_change.append(listener)
        return lambda: _remove(self._on_change, listener)

    def acknowledge(self, token: int) -> None:
        """Says that nothing of the term with this token acts any more, and nothing will.

        The next leader then need not wait for the end of the last grant. Optional, and only for when all work of the
        term has ended. If the term still stands, it ends.
        """
        if token <= self._stopped:
            return
        self._stopped = token
        if self._leading and self._last.token <= token:
            self._hang_up()
        elif self._acknowledged():
            self._beats.set()
        self._changed()

    def withdraw(self) -> None:
        """Comes first when the miner is asked to end: from here on it neither leads nor is a candidate.

        `on_lost` runs; the stream stays, since the miner's cleanup may still act. done() says when it does not.
        """
        if not self._withdrawn:
            self._withdrawn = True
            self._changed()
            self._beats.set()

    def done(self) -> None:
        """Says that the caller has ended all that acted as leader.

        An acknowledgement of the last term, or of the present one, which ends. It counts once `on_lost` has returned too, and
        returns at once.
        """
        self._given_up = max(self._given_up, self._last.token, self._announced)
        self._finished = True
        self._finish()
        self._changed()

    def _finish(self) -> None:
        if self._finished and not self._announced:
            self._finished = False
            self.acknowledge(self._given_up)

    async def close(self, timeout: float | None = None) -> None:
        """Withdraws, and ends the campaign once the term was acknowledged or its last grant is over.

        Then the lock goes to the next miner. It returns after that, at most --miner-timeout later, and when the callbacks have
        ended, but for the one that called it. Raises TimeoutError if it would take longer than `timeout` seconds: the campaign
        still ends when it would have, if the loop runs on.
        """
        self._closing = True
        self.withdraw()
        self._changed()
        self._beats.set()
        if caller := _CALLBACK.get():
            self._closers.add(caller)
        # A caller that gives up waiting must not cut the stream before its time.
        await asyncio.wait_for(asyncio.shield(self._left()), timeout)

    async def _left(self) -> None:
        await asyncio.gather(*self._tasks)
        if self._tending:
            self._tending.cancel()
        while others := self._telling - self._closers:
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED, timeout=0.1)  # one may call close() meanwhile

    async def _announce(self) -> None:
        """Calls the miner's functions in the order of what happened."""
        while True:
            self._changes.clear()
            grant = self._held()
            if self._announced and not self._cleaning and (grant is None or grant.token != self._announced):
                self._lose()
            elif grant and not self._announced:
                self._announced = grant.token
                self._changed()
                for listener in list(self._on_elected):
                    self._begin(listener, grant.token)
            elif self._closing and not (self._last.token > self._stopped and self._last.holds() and not self._last.endless):
                self._hang_up()
                return
            elif self._closing and self._extending:
                return  # no stream ends, and nobody waits for it
            else:
                # Until something is new, or a grant ends.
                left = self._last.left() if grant or self._closing else None
                try:
                    await asyncio.wait_for(self._changes.wait(), left)
                except asyncio.TimeoutError:
                    pass

    def _begin(self, listener: Listener, token: int) -> None:
        def fails() -> None:
            if self._announced == token:
                self._given_up = max(self._given_up, token)
                self._changed()
                self._beats.set()

        self._tell(listener, self._term, fails)

    def _lose(self) -> None:
        """The announced term is over."""
        self._cleaning = True
        for task in self._term:
            task.cancel()
        for pulse in [it for it in self._pulses if it.token]:
            pulse.stop()
        self._changed()
        self._beats.set()
        running: set[asyncio.Task[None]] = set()
        for listener in list(self._on_lost):
            self._tell(listener, running, lambda: None)

        async def cleaned() -> None:
            await asyncio.gather(*running, return_exceptions=True)
            self._cleaning, self._announced = False, 0
            self._finish()
            self._changed()
            self._beats.set()

        self._keep(asyncio.create_task(cleaned()), self._cleaners)

    def _tell(self, listener: Listener, among: set[asyncio.Task[None]], fails: Callable[[], None]) -> None:
        """Calls one; what it awaits is a task of its own. One that fails is logged."""
        said = self._guard(listener, fails)
        if inspect.isawaitable(said):

            async def awaits() -> None:
                _CALLBACK.set(asyncio.current_task())
                try:
                    await said
                except Exception as error:
                    self._failed_in(error, fails)

            task = asyncio.create_task(awaits())
            self._keep(task, among)
            self._keep(task, self._telling)

    def _keep(self, task: asyncio.Task[None], among: set[asyncio.Task[None]]) -> None:
        among.add(task)
        task.add_done_callback(among.discard)


def _remove(listeners: list, listener: object) -> None:
    if listener in listeners:
        listeners.remove(listener)
