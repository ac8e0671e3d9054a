"""A miner's view of its leadership: the file to copy.

The agent beside the miner owns the lock in Redis and grants the right to act, each time until a deadline on a clock
that both read. An Elector keeps the last grant, so that is_leader() is a comparison and no round trip. Its heartbeats
are the calls of the miner's own work loop: whatever stops the work stops them too, and the agent lets another miner
lead. All of it runs in one asyncio loop, the miner's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

import grpc
from understudy.v1 import election_pb2 as pb
from understudy.v1.election_pb2_grpc import ElectionServiceStub

log = logging.getLogger("understudy")

# Where the agent listens unless it is told otherwise.
DEFAULT_AGENT = "127.0.0.1:50051"
FIRST_RETRY, LAST_RETRY = 0.05, 1.0
# Until the agent has said how often it wants to hear.
FIRST_HEARTBEAT_EVERY = 0.3

OPTIONS = [
    # Without it no call over a unix socket gets through.
    ("grpc.default_authority", "localhost"),
    # The agent is on this machine: no proxy, and quick retries.
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", int(FIRST_RETRY * 1000)),
    ("grpc.min_reconnect_backoff_ms", int(FIRST_RETRY * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(LAST_RETRY * 1000)),
    # One channel, one connection: not shared with others of this process.
    ("grpc.use_local_subchannel_pool", 1),
]


def boottime_ns() -> int:
    """CLOCK_BOOTTIME in nanoseconds: the clock that miner and agent share."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Grant:
    """The right to act as leader, until it ends by itself."""

    token: int
    """Grows from term to term. Send it with every write to a store that can refuse a smaller one than it has seen."""
    until: int
    """When it ends, on CLOCK_BOOTTIME in nanoseconds."""

    def holds(self) -> bool:
        """Whether the clock is still below its end. Ask before every effect."""
        return boottime_ns() < self.until

    def left(self) -> float:
        """Seconds until its end."""
        return max(0, self.until - boottime_ns()) / 1e9


NO_GRANT = Grant(token=0, until=0)
Listener = Callable[[], Awaitable[None] | None]


class Elector:
    """Campaigns for one miner. Use it from the loop in which it was started.

    `agent` is an address ("127.0.0.1:50051", which "" and None mean too) or a socket
    ("unix:/run/understudy/grpc.sock"); the miner's name is for the agent's status. `on_elected` and `on_lost` are
    called at the beginning and the end of each term, in the order of what happened, each in a task of its own. That of
    `on_elected` is cancelled when the term ends; the next term is announced when that of `on_lost` has ended.
    """

    def __init__(
        self,
        agent: str | None,
        miner: str,
        *,
        on_elected: Listener | None = None,
        on_lost: Listener | None = None,
    ):
        self._agent, self._miner = agent or DEFAULT_AGENT, miner
        self._on_elected, self._on_lost = on_elected, on_lost
        self._last = NO_GRANT  # the last one that was sent on the present stream
        self._leading = False  # and it stands
        self._ended_by = 0  # the version that ended it, unless it stands
        self._stopped = 0  # nothing acts any more under this token and smaller ones: the miner's word
        self._announced = 0  # the token of the term that was announced
        self._every = FIRST_HEARTBEAT_EVERY
        self._beaten = float("-inf")
        self._closing = False
        self._call: grpc.aio.StreamStreamCall | None = None
        self._beats = asyncio.Event()  # the work loop turns
        self._changes = asyncio.Event()  # something that _announce looks at is new
        self._tasks: list[asyncio.Task[None]] = []
        self._telling: set[asyncio.Task[None]] = set()  # of the callbacks that run

    async def __aenter__(self) -> Elector:
        """Starts; an agent that is not there yet is waited for. Raises if `agent` is no address."""
        channel = grpc.aio.insecure_channel(self._agent, options=OPTIONS)
        self._tasks = [asyncio.create_task(self._announce()), asyncio.create_task(self._run(channel))]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def is_leader(self) -> bool:
        """Whether the miner may act now. It is a heartbeat too: ask from the loop that does the work."""
        return self.grant() is not None

    def grant(self) -> Grant | None:
        """is_leader() with the token, for writes that are fenced."""
        self.beat()
        return self._held()

    def beat(self) -> None:
        """Tells the agent that the work loop turns.

        The miner is a candidate only while it beats: call this, or is_leader(), from a loop that also turns while
        the miner stands by, several times a second. What is more than the agent wants is not sent.
        """
        now = time.monotonic()
        if now - self._beaten >= self._every:
            self._beaten = now
            self._beats.set()

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
        self._changes.set()

    async def close(self) -> None:
        """Leaves: is_leader() is false from here on, and `on_lost` runs.

        Once the term was acknowledged or its last grant is over the campaign ends and the lock goes to the next
        miner. Nothing extends that grant, even if others go on asking. It returns after that, and when the callbacks have
        ended, but for the one that called it.
        """
        self._closing = True
        self._changes.set()
        self._beats.set()
        # Whoever gives up waiting must not cut the stream before its time.
        await asyncio.shield(asyncio.gather(*self._tasks))
        others = self._telling - {asyncio.current_task()}
        await asyncio.shield(asyncio.gather(*others, return_exceptions=True))

    def _held(self) -> Grant | None:
        last = self._last
        if self._closing or not self._leading or last.token <= self._stopped or not last.holds():
            return None
        return last

    async def _run(self, channel: grpc.aio.Channel) -> None:
        """Campaigns until close(), one stream after the other. Only a beat opens one."""
        retry, said = FIRST_RETRY, None
        async with channel:
            while not self._closing:
                await self._beats.wait()
                if self._closing:
                    break
                heard, error, unforeseen = await self._campaign(channel)
                if heard:
                    retry, said = FIRST_RETRY, None
                if error not in (said, "cancelled"):
                    said = error
                    level = logging.ERROR if unforeseen else logging.WARNING
                    what = "no campaign, so not a leader: agent=%s error=%s"
                    log.log(level, what, self._agent, error, exc_info=unforeseen)
                await asyncio.sleep(retry)
                retry = min(2 * retry, LAST_RETRY)
            await self._tasks[0]  # every term is over, and announced as lost

    async def _campaign(self, channel: grpc.aio.Channel) -> tuple[bool, str, BaseException | None]:
        """One campaign, until its stream ends.

        Tells whether the agent said anything, what ended it, and the exception if it is one that nobody foresaw. It is
        tried again then too: a task that ends unseen would leave a miner that never is a candidate.
        """
        heard, error, unforeseen = False, "the agent ended the stream", None
        call = self._call = ElectionServiceStub(channel).Campaign()
        sending = asyncio.create_task(self._send(call))
        try:
            async for response in call:
                self._take(response.leadership)
                heard = True
        except grpc.aio.AioRpcError as failed:
            error = f"{failed.code().name}: {failed.details()}"
        except asyncio.CancelledError:
            if not call.cancelled():
                raise
            error = "cancelled"
            if sending.done() and not sending.cancelled():
                unforeseen = sending.exception()
        except Exception as failed:
            unforeseen = failed
            self._leading = False
            self._changes.set()
            await self._outlast_grant()
        finally:
            # No stream, no grant.
            self._last, self._leading, self._beaten = NO_GRANT, False, float("-inf")
            self._changes.set()
            sending.cancel()
            call.cancel()
        return heard, repr(unforeseen) if unforeseen else error, unforeseen

    def _take(self, now: pb.Leadership) -> None:
        """What the agent says becomes what is_leader() compares with the clock."""
        if now.role == pb.ROLE_LEADER and self._closing:
            pass  # nothing extends the grant that close() waits for
        elif now.role == pb.ROLE_LEADER:
            until = now.valid_until_boottime_ns
            if self._last.token == now.fencing_token:
                until = max(until, self._last.until)
            self._last, self._leading = Grant(now.fencing_token, until), True
        elif self._leading:
            self._leading, self._ended_by = False, now.version
            if self._acknowledged():
                self._beats.set()
        every = now.heartbeat_every.ToTimedelta().total_seconds()
        if every > 0:
            self._every = every
        self._changes.set()

    def _acknowledged(self) -> int:
        """The version of which it is true that nothing begun before it still acts; 0: none is known."""
        over = not self._leading and 0 < self._last.token <= self._stopped
        return self._ended_by if over else 0

    async def _send(self, call: grpc.aio.StreamStreamCall) -> None:
        """Sends the beats of the work loop, and none of its own.

        After close() has begun no beat counts, from any caller; an acknowledgement does.
        """
        try:
            while True:
                await self._beats.wait()
                self._beats.clear()
                if self._closing and not self._acknowledged():
                    continue
                await call.write(pb.CampaignRequest(miner=self._miner, acknowledged_version=self._acknowledged()))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the receiver tells why
        except Exception:
            # Without beats the stream is of no use. The receiver tells what was raised.
            await self._outlast_grant()
            call.cancel()
            raise

    async def _outlast_grant(self) -> None:
        """Waits until no work that was begun may act: the agent takes the end of the stream for the end of the work."""
        while self._last.token > self._stopped and self._last.holds():
            await asyncio.sleep(self._last.left())

    async def _announce(self) -> None:
        """Calls the miner's functions in the order of what happened."""
        elected = lost = self._tell(_call(None))
        while True:
            self._changes.clear()
            grant = self._held()
            if self._announced and (grant is None or grant.token != self._announced):
                self._announced = 0
                elected.cancel()
                lost = self._tell(_call(self._on_lost))
            elif grant and not self._announced and lost.done():
                elected = self._tell(self._begin())
                await asyncio.sleep(0)  # it begins, however short the term
            elif self._closing and not (self._last.token > self._stopped and self._last.holds()):
                self._hang_up()
                return
            else:
                # Until something is new, or a grant ends.
                left = self._last.left() if grant or self._closing else None
                try:
                    await asyncio.wait_for(self._changes.wait(), left)
                except asyncio.TimeoutError:
                    pass

    async def _begin(self) -> None:
        """Begins a term, unless the miner has just given it up."""
        if grant := self._held():
            self._announced = grant.token
            await _call(self._on_elected)

    def _tell(self, telling: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(telling)
        self._telling.add(task)
        task.add_done_callback(self._told)
        return task

    def _told(self, task: asyncio.Task[None]) -> None:
        self._telling.discard(task)
        self._changes.set()

    def _hang_up(self) -> None:
        if self._call:
            self._call.cancel()


async def _call(listener: Listener | None) -> None:
    try:
        said = listener() if listener else None
        if said is not None:
            await said
    except Exception:
        log.exception("a callback failed")
