from __future__ import annotations

import asyncio
import logging
import random
import time
import unittest
from unittest import mock

import grpc
from elector import Elector, boottime_ns
from understudy.v1 import election_pb2 as pb
from understudy.v1 import election_pb2_grpc as rpc


class Agent(rpc.ElectionServiceServicer):
    """Answers every heartbeat with a grant of 300 ms, or another length, while it elects."""

    def __init__(self):
        self.elects, self.heard, self.version = True, 0, 0
        self.grants, self.every = 0.3, 0.05
        self.ended = 0  # when the last stream did
        self.answers = asyncio.Event()  # while it is set
        self.answers.set()

    async def Campaign(self, requests, context):
        def ends(_):
            self.ended = boottime_ns()

        context.add_done_callback(ends)
        async for _ in requests:
            self.heard += 1
            self.version += 1
            await self.answers.wait()
            now = pb.Leadership(role=pb.ROLE_STANDBY, version=self.version)
            now.heartbeat_every.FromMilliseconds(int(self.every * 1e3))
            if self.elects:
                now.role, now.fencing_token = pb.ROLE_LEADER, 5
                now.valid_until_boottime_ns = boottime_ns() + int(self.grants * 1e9)
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


class Leaving(unittest.IsolatedAsyncioTestCase):
    """After close() has begun nothing extends the grant, whichever caller asks; an acknowledgement counts."""

    async def asyncSetUp(self):
        self.agent = Agent()
        self.agent.every = 0.01
        self.server, self.address = await self.agent.serve("127.0.0.1:0")

    async def asyncTearDown(self):
        await self.server.stop(0)

    async def leading(self) -> Elector:
        elector = await Elector(self.address, "miner").__aenter__()
        while not elector.is_leader():
            await asyncio.sleep(0.001)
        return elector

    def ask(self, elector: Elector) -> asyncio.Future:
        """Fifty that go on asking until they are cancelled, as a logger would on every line."""

        async def asks():
            while True:
                elector.is_leader()
                await asyncio.sleep(0.001)

        asking = asyncio.gather(*(asks() for _ in range(50)))
        self.addAsyncCleanup(asyncio.gather, asking, return_exceptions=True)
        self.addCleanup(asking.cancel)
        return asking

    async def test_no_beat_counts(self):
        elector = await self.leading()
        self.ask(elector)
        closing = asyncio.create_task(elector.close())
        await asyncio.sleep(0.1)  # for what was under way
        before = self.agent.heard
        await asyncio.wait_for(closing, 5)
        self.assertEqual(self.agent.heard, before)

    async def test_a_grant_that_comes_late_is_not_waited_for(self):
        elector = await self.leading()
        self.agent.answers.clear()
        self.agent.grants = 3600
        heard = self.agent.heard
        while self.agent.heard == heard:
            elector.beat()
            await asyncio.sleep(0.001)
        closing = asyncio.create_task(elector.close())
        await asyncio.sleep(0)
        self.agent.answers.set()
        await asyncio.wait_for(closing, 5)

    async def test_an_acknowledgement_counts(self):
        self.agent.grants = 3600
        elector = await self.leading()
        self.ask(elector)
        closing = asyncio.create_task(elector.close())
        await asyncio.sleep(0.1)
        elector.acknowledge(5)
        await asyncio.wait_for(closing, 5)

    async def test_no_term_begins_once_it_is_given_up(self):
        for steps in range(20):
            given_up = False
            begun_late = []
            elector = Elector(self.address, "miner", on_elected=lambda: begun_late.append(given_up))
            async with elector:
                while not elector.is_leader():
                    await asyncio.sleep(0)
                for _ in range(steps):
                    await asyncio.sleep(0)
                elector.acknowledge(5)
                given_up = True
            self.assertNotIn(True, begun_late, f"{steps} steps after the grant")

    async def test_at_any_moment_of_a_campaign(self):
        self.agent.grants, longest = 0.1, 0
        for turn in range(30):
            elector = await Elector(self.address, "miner").__aenter__()
            asking = self.ask(elector)
            await asyncio.sleep(random.uniform(0, 2 * self.agent.grants))
            began = time.monotonic()
            if turn % 2:
                elector.acknowledge(5)
            await asyncio.wait_for(elector.close(), 5)
            longest = max(longest, time.monotonic() - began)
            self.assertFalse(elector.is_leader())
            asking.cancel()
        self.assertLess(longest, self.agent.grants + 1)


class Addresses(unittest.IsolatedAsyncioTestCase):
    async def test_an_empty_one_is_the_default(self):
        for empty in "", None:
            with mock.patch("grpc.aio.insecure_channel", wraps=grpc.aio.insecure_channel) as dial:
                async with Elector(empty, "miner"):
                    pass
            self.assertEqual(dial.call_args.args, ("127.0.0.1:50051",))


class Failures(unittest.IsolatedAsyncioTestCase):
    """What nobody foresaw is told once, with its trace, and the miner stays a candidate."""

    async def fails_at_first(self, method: str, error: str):
        agent = Agent()
        server, address = await agent.serve("127.0.0.1:0")
        healthy, failures = getattr(Elector, method), 0

        def fails(*args):
            nonlocal failures
            failures += 1
            if failures <= 3:
                raise RuntimeError("a mistake")
            return healthy(*args)

        async def beats():
            while not elector.is_leader():
                await asyncio.sleep(0.02)

        with mock.patch.object(Elector, method, fails), self.assertLogs("understudy") as logs:
            async with Elector(address, "miner") as elector:
                await asyncio.wait_for(beats(), 5)
        await server.stop(0)
        self.assertEqual([record.levelname for record in logs.records], ["ERROR"])
        self.assertIn(error, logs.output[0])
        self.assertIn("Traceback", logs.output[0])

    async def test_of_the_receiver(self):
        await self.fails_at_first("_take", "RuntimeError('a mistake')")

    async def test_of_the_sender(self):
        await self.fails_at_first("_acknowledged", "RuntimeError('a mistake')")

    async def test_the_stream_outlasts_the_grant(self):
        for method in "_take", "_acknowledged":
            agent = Agent()
            server, address = await agent.serve("127.0.0.1:0")

            async def beats(until):
                while not until():
                    elector.beat()
                    await asyncio.sleep(0.02)

            async with Elector(address, "miner") as elector:
                await asyncio.wait_for(beats(elector.is_leader), 5)
                grant = elector.grant()
                fails = mock.Mock(side_effect=RuntimeError("a mistake"))
                with mock.patch.object(elector, method, fails), self.assertLogs("understudy"):
                    await asyncio.wait_for(beats(lambda: agent.ended), 5)
                    await asyncio.sleep(0.02)
            await server.stop(0)
            self.assertGreaterEqual(agent.ended, grant.until, method)


if __name__ == "__main__":
    unittest.main()
