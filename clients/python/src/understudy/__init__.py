"""A miner's view of its leadership: is_leader() for all who ask, and pulses for what must go on."""

from .elector import Elector
from .fake import Always, Fake
from .grant import Grant, boottime_ns
from .pulse import Pulse
from .view import View

__all__ = ["Always", "Elector", "Fake", "Grant", "Pulse", "View", "boottime_ns"]
