from __future__ import annotations

import asyncio
import logging
import unittest

import grpc
from elector import Elector, boottime_ns
from understudy.v1 import election_pb2 as pb
from understudy.v1 import election_pb2_grpc as rpc


class Agent(rpc.ElectionServiceServicer):
    """Answers every heartbeat with a grant of 300 ms while it elects."""

    def __init__(self):
        self.elects, self.heard, self.version = True, 0, 0

    async def Campaign(self, requests, _context):
        async for _ in requests:
            self.heard += 1
            self.version += 1
            now = pb.Leadership(role=pb.ROLE_STANDBY, version=self.version)
            now.heartbeat_every.FromMilliseconds(50)
            if self.elects:
                now.role, now.fencing_token = pb.ROLE_LEADER, 5
                now.valid_until_boottime_ns = boottime_ns() + 300_000_000
            yield pb.CampaignResponse(leadership=now)

    async def serve(self, at: str) -> tuple[grpc.aio.Server, str]:
        server = grpc.aio.server()
        rpc.add_ElectionServiceServicer_to_server(self, server)
        port = server.add_insecure_port(at)
        await server.start()
        return server, f"127.0.0.1:{port}"


class Callbacks(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.agent = Agent()
        self.server, self.address = await self.agent.serve("127.0.0.1:0")
        self.told: list[str] = []
        self.works = False
        logging.disable()

    async def asyncTearDown(self):
        logging.disable(logging.NOTSET)
        await self.server.stop(0)

    def elector(self, on_elected=None, on_lost=None) -> Elector:
        return Elector(
            self.address,
            "miner",
            on_elected=on_elected or (lambda: self.told.append("elected")),
            on_lost=on_lost or (lambda: self.told.append("lost")),
        )

    async def beat_until(self, elector: Elector, done):
        async def beats():
            while not done():
                elector.beat()
                await asyncio.sleep(0.02)

        await asyncio.wait_for(beats(), 5)

    async def a_term(self, elector: Elector):
        """One that begins and ends."""
        self.agent.elects = True
        await self.beat_until(elector, elector.is_leader)
        await asyncio.sleep(0.05)
        self.agent.elects = False
        await self.beat_until(elector, lambda: not elector.is_leader())
        await asyncio.sleep(0.05)

    async def test_they_come_in_order(self):
        async with self.elector() as elector:
            await self.a_term(elector)
            await self.a_term(elector)
        self.assertEqual(self.told, ["elected", "lost"] * 2)

    async def test_one_that_raises_does_not_silence_the_next(self):
        def fails():
            raise RuntimeError("a callback of the miner's")

        async with self.elector(on_elected=fails) as elector:
            await self.a_term(elector)
        self.assertEqual(self.told, ["lost"])
        async with self.elector(on_lost=fails) as elector:
            await self.a_term(elector)
            await self.a_term(elector)
        self.assertEqual(self.told, ["lost", "elected", "elected"])

    async def test_the_work_of_a_term_is_cancelled_at_its_end(self):
        async def works():
            self.works = True
            try:
                await asyncio.Event().wait()
            finally:
                self.works = False

        elector = self.elector(on_elected=works)
        async with elector:
            await self.a_term(elector)
            self.assertEqual((self.works, self.told), (False, ["lost"]))
            self.agent.elects = True
            await self.beat_until(elector, lambda: self.works)
            await asyncio.wait_for(elector.close(), 5)
        self.assertEqual((self.works, self.told), (False, ["lost", "lost"]))

    async def test_the_next_term_waits_for_the_end_of_on_lost(self):
        go_on = asyncio.Event()
        async with self.elector(on_lost=go_on.wait) as elector:
            await self.a_term(elector)
            await self.a_term(elector)
            self.assertEqual(self.told, ["elected"])
            go_on.set()
            await self.a_term(elector)
            self.assertEqual(self.told, ["elected", "elected"])

    async def test_close_may_be_called_by_them(self):
        closed = asyncio.Event()

        async def closes():
            await elector.close()
            closed.set()

        async with self.elector(on_lost=closes) as elector:
            await self.a_term(elector)
            await asyncio.wait_for(closed.wait(), 5)


class Beats(unittest.IsolatedAsyncioTestCase):
    async def test_an_old_one_opens_no_stream(self):
        agent = Agent()
        server, address = await agent.serve("127.0.0.1:0")
        await server.stop(0)
        logging.disable()
        async with Elector(address, "miner") as elector:
            elector.beat()  # the loop turns once, and hangs
            await asyncio.sleep(1)
            server, _ = await agent.serve(address)
            await asyncio.sleep(2)
        logging.disable(logging.NOTSET)
        await server.stop(0)
        self.assertEqual(agent.heard, 0)


if __name__ == "__main__":
    unittest.main()
