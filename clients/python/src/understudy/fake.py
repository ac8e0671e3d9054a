"""Electors without an agent, for laptops and tests, on every system."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from .elector import Elector
from .grant import Grant

Own = TypeVar("Own", bound="Always")


class Fake(Elector):
    """Leads when a test says so."""

    _has_agent = False

    def __init__(self, miner: str = "fake", **options):
        super().__init__(None, miner, **options)
        self._token = 0

    def elect(self) -> int:
        """Begins a term, and returns its token."""
        self._token += 1
        self._role, self._reason, self._leader, self._instance = "leader", "elected", self._miner, self._miner
        if not self._withdrawn:
            self._last, self._leading = Grant(self._token, 0, endless=True), True
        self._changed()
        return self._token

    def lose(self, reason: str = "lock_lost") -> None:
        """Ends it."""
        self._role, self._reason, self._leader, self._leading = "standby", reason, "", False
        self._changed()

    async def _run(self, channel: object) -> None:
        await asyncio.wait(self._tasks[:1])


class Always(Fake):
    """Leads until withdraw() or close()."""

    async def __aenter__(self: Own) -> Own:
        await super().__aenter__()
        self.elect()
        return self
