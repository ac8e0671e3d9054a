"""What the elector knows, for those who want to read it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

# Reasons of the elector's own, beside those of the agent.
NO_AGENT = "no_agent"  # the agent is not reached, or refuses the campaign
NO_BEATS = "no_beats"  # nothing vouches for the miner's work, or a pulse is late
CLEANING_UP = "cleaning_up"  # callbacks of a term's end still run
GRANT_ENDED = "grant_ended"  # the last grant ran out, and the agent has sent no other
GIVEN_UP = "given_up"  # the miner gave this term up: acknowledged it, or a callback of its own failed
WITHDRAWN = "withdrawn"  # withdraw() or close() was called

_PLANNED = {WITHDRAWN, GIVEN_UP, CLEANING_UP, "resigned", "draining"}
_ALARMING = {NO_AGENT, NO_BEATS, "eviction_policy", "miner_silent"}


@dataclass(frozen=True)
class View:
    """What the elector knows at one moment."""

    leads: bool = False
    """The miner may act now."""
    token: int = 0
    """Of the term, while it leads."""
    role: str = ""
    """The agent's: leader, standby, idle; empty when it is not known."""
    reason: str = "starting"
    """Why the miner leads or does not: a word of the agent's, or one of this module."""
    detail: str = ""
    """More of that, for a reader: an error, or the pulses that are late."""
    leader: str = ""
    """The holder of the lock as last seen."""
    instance: str = ""
    """This agent's own name there."""
    late: tuple[str, ...] = ()
    """The pulses that keep the heartbeats back."""

    def line(self, led: bool) -> tuple[int, str]:
        """The level and the words of the log line that tells of it, after a view in which the miner `led`."""
        if self.leads:
            if self.detail:
                return logging.WARNING, f"this miner leads, and sends no heartbeat: {self.detail}"
            return logging.INFO, "this miner leads"
        words = [self.reason, self.detail, self.leader and f"{self.leader} leads"]
        alarms = self.reason in _ALARMING or self.reason.startswith("redis_") or (led and self.reason not in _PLANNED)
        level = logging.WARNING if alarms else logging.INFO
        return level, "no leadership: " + ", ".join(word for word in words if word)
