"""The elector's side of the stream: what it sends to the agent, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import logging
import re

import grpc

from .grant import NO_GRANT, Grant
from .state import State
from .v1 import election_pb2 as pb
from .v1.election_pb2_grpc import ElectionServiceStub
from .view import GIVEN_UP

FIRST_RETRY, LAST_RETRY = 0.05, 1.0
# The first revision of the agent that understands `standing_down` and `late`: an older one takes both for heartbeats.
UNDERSTANDS_MORE = 1

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


def open_channel(agent: str) -> grpc.aio.Channel:
    """A channel to the agent, which is on this machine."""
    return grpc.aio.insecure_channel(_target(agent), options=OPTIONS)


def _target(agent: str) -> str:
    """The address as gRPC has it."""
    if re.fullmatch(r"unix:/*[^/].*", agent):
        return agent
    address = re.fullmatch(r"(?:http://)?((?:[^\s:@/]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5}))", agent)
    if not address or not 0 < int(address[2]) < 65536:
        raise ValueError(f"the agent's address is malformed: expected 127.0.0.1:50051 or unix:/path, not {agent!r}")
    return address[1]


class Campaigns(State):
    """Speaks with the agent."""

    _failed = ""
    _hung_up = False

    async def _run(self, channel: grpc.aio.Channel) -> None:
        """Campaigns until close(), one stream after the other. Only a heartbeat opens one."""
        retry = FIRST_RETRY
        async with channel:
            while not self._closing:
                await self._beats.wait()
                self._beats.clear()
                if self._closing or not self._due or self._late or self._stands_down():
                    continue
                if await self._campaign(channel):
                    retry = FIRST_RETRY
                await asyncio.sleep(retry)
                retry = min(2 * retry, LAST_RETRY)
                self._pulsed.set()
            await self._tasks[0]  # every term is over, and announced as lost

    async def _ask(self, channel: grpc.aio.Channel) -> None:
        """Asks for each grant until close(), for --miner-liveness=probe and always."""
        async with channel:
            stub = ElectionServiceStub(channel)
            while not self._closing:
                # The agent's own probe vouches for the miner, and what else there is must be fresh.
                extend = not self._late and not self._stands_down()
                try:
                    answer = await stub.GetLeadership(pb.GetLeadershipRequest(extend=extend), timeout=LAST_RETRY)
                    self._take(answer.leadership, 0)
                except grpc.aio.AioRpcError as failed:
                    # What was granted holds until its deadline: no stream says more.
                    self._role, self._reason, self._trouble = "", "", self._explain(failed)
                    self._changed()
                try:
                    await asyncio.wait_for(self._beats.wait(), self._every)
                    self._beats.clear()
                except asyncio.TimeoutError:
                    pass
            await self._tasks[0]

    async def _campaign(self, channel: grpc.aio.Channel) -> bool:
        """One campaign, until its stream ends. Tells whether the agent said anything.

        After an exception that nobody foresaw it is tried again too: a task that ends unseen would leave a miner that never is
        a candidate.
        """
        heard, error = False, f"{self._agent}: the agent ended the stream"
        self._revision, self._hung_up = 0, False
        call = self._call = ElectionServiceStub(channel).Campaign()
        sending = asyncio.create_task(self._send(call))
        try:
            async for response in call:
                self._take(response.leadership, response.revision)
                heard = True
        except grpc.aio.AioRpcError as failed:
            error = self._explain(failed)
        except asyncio.CancelledError:
            # A call that was cancelled raises this too, even if it has ended in another way first.
            if not self._hung_up:
                raise
            error = ""
            if sending.done() and not sending.cancelled() and (unforeseen := sending.exception()):
                error = self._unforeseen(unforeseen)
        except Exception as failed:
            error = self._unforeseen(failed)
            self._leading = False
            self._changed()
            await self._outlast_grant()
        finally:
            # No stream, no grant.
            self._last, self._leading, self._sent, self._due, self._call = NO_GRANT, False, 0.0, False, None
            self._role, self._reason, self._trouble = "", "" if error else GIVEN_UP, error
            self._changed()
            sending.cancel()
            call.cancel()
        return heard

    def _unforeseen(self, error: BaseException) -> str:
        if repr(error) != self._failed:  # told once, until it changes
            self._failed = repr(error)
            self._logs(logging.ERROR, "the campaign failed: %r", error, exc_info=error)
        return repr(error)

    def _explain(self, error: grpc.aio.AioRpcError) -> str:
        """An error in the words of somebody who can mend it."""
        if error.code() != grpc.StatusCode.FAILED_PRECONDITION:
            return f"{self._agent}: {error.details()}"
        if self._extending:
            return f"{self._agent} runs with --miner-liveness=campaign: make the elector without extending=True"
        return f"{self._agent} runs with --miner-liveness=probe or always, where nobody campaigns: make the elector with extending=True"

    def _take(self, now: pb.Leadership, revision: int) -> None:
        """What the agent says becomes what is_leader() compares with the clock."""
        self._role = pb.Role.Name(now.role).removeprefix("ROLE_").lower()
        self._reason = _reason(now.reason)
        self._leader, self._instance, self._revision = now.leader_id, now.instance_id, revision
        if now.role == pb.ROLE_LEADER and self._withdrawn:
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
        self._changed()

    def _acknowledged(self) -> int:
        """The version of which it is true that nothing begun before it still acts; 0: none is known."""
        over = not self._leading and 0 < self._last.token <= self._stopped
        return self._ended_by if over else 0

    def _next(self) -> pb.CampaignRequest | None:
        """What is to be sent now. A miner that stands down sends no heartbeat, and an acknowledgement all the same."""
        request = pb.CampaignRequest(miner=self._miner, acknowledged_version=self._acknowledged())
        understands = self._revision >= UNDERSTANDS_MORE
        if self._stands_down():
            self._due, request.standing_down = False, understands
        elif self._late:
            request.late = ", ".join(self._late) if understands else ""
        elif self._due:
            self._due = False
            return request
        return request if request.standing_down or request.late or request.acknowledged_version else None

    async def _send(self, call: grpc.aio.StreamStreamCall) -> None:
        """Sends the heartbeat that opened the stream and those that follow."""
        try:
            while True:
                if request := self._next():
                    await call.write(request)
                await self._beats.wait()
                self._beats.clear()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the receiver tells why
        except Exception:
            # Without beats the stream is of no use. The receiver tells what was raised.
            await self._outlast_grant()
            self._hang_up()
            raise

    async def _outlast_grant(self) -> None:
        """Waits until no work that was begun may act: the agent takes the end of the stream for the end of the work."""
        while self._last.token > self._stopped and self._last.holds():
            await asyncio.sleep(self._last.left())

    def _hang_up(self) -> None:
        if self._call:
            self._hung_up = True
            self._call.cancel()


def _reason(reason: int) -> str:
    """Its word. An agent of a later version may send one that is not known here."""
    try:
        return pb.Reason.Name(reason).removeprefix("REASON_").lower()
    except ValueError:
        return f"reason_{reason}"
