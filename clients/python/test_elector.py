from __future__ import annotations

import asyncio
import logging
import os
import random
import time
import unittest
from unittest import mock

# gRPC's own handlers of a fork crash one child in twenty. They are read when it is imported.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import grpc
from understudy import Always, Elector, Fake, boottime_ns, grant
from understudy.v1 import election_pb2 as pb
from understudy.v1 import election_pb2_grpc as rpc


class Agent(rpc.ElectionServiceServicer):
    """Answers every heartbeat with a grant of 300 ms, or another length, while it elects."""

    def __init__(self):
        self.elects, self.heard, self.version = True, 0, 0
        self.revision, self.stood, self.acknowledged, self.late = 1, 0, 0, ""
        self.extended, self.extends = 0, False
        self.grants, self.every = 0.3, 0.05
        self.ended = 0  # when the last stream did
        self.answers = asyncio.Event()  # while it is set
        self.answers.set()

    async def Campaign(self, requests, context):
        def ends(_):
            self.ended = boottime_ns()

        context.add_done_callback(ends)
        if self.extends:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nobody campaigns")
        yield pb.CampaignResponse(leadership=pb.Leadership(role=pb.ROLE_STANDBY), revision=self.revision)
        async for request in requests:
            self.version += 1
            if not (request.standing_down and self.revision) and not request.late:
                self.heard += 1
            await self.answers.wait()
            self.acknowledged = max(self.acknowledged, request.acknowledged_version)
            now = pb.Leadership(role=pb.ROLE_STANDBY, reason=pb.REASON_HELD_BY_OTHER, leader_id="other-1", version=self.version)
            now.heartbeat_every.FromMilliseconds(int(self.every * 1e3))
            if request.standing_down and self.revision:
                self.stood += 1
                now.role, now.reason = pb.ROLE_IDLE, pb.REASON_NOT_CANDIDATE
            elif request.late:
                self.late = request.late
            elif self.elects:
                self.grant(now)
            yield pb.CampaignResponse(leadership=now, revision=self.revision)

    def grant(self, now):
        now.role, now.reason, now.fencing_token, now.leader_id = pb.ROLE_LEADER, pb.REASON_ELECTED, 5, "me-1"
        now.valid_until_boottime_ns = boottime_ns() + int(self.grants * 1e9)

    async def GetLeadership(self, request, context):
        now = pb.Leadership(role=pb.ROLE_STANDBY)
        now.heartbeat_every.FromMilliseconds(int(self.every * 1e3))
        if request.extend:
            self.extended += 1
            if not self.extends:
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "campaign")
            self.grant(now)
        return pb.GetLeadershipResponse(leadership=now)

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
            await self.beat_until(elector, lambda: "lost" in self.told)
        self.told = ["lost"]
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
            self.agent.elects = True
            for _ in range(20):
                elector.beat()
                await asyncio.sleep(0.01)
                self.assertFalse(elector.is_leader())
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
            elector.beat()
            await asyncio.sleep(0.001)
        return elector

    def ask(self, elector: Elector) -> asyncio.Future:
        """A thousand that go on asking until they are cancelled, as a logger would on every line, and a loop that beats."""

        async def asks():
            while True:
                for _ in range(50):
                    elector.is_leader()
                await asyncio.sleep(0.02)

        async def beats():
            while True:
                elector.beat()
                await asyncio.sleep(0.001)

        asking = asyncio.gather(beats(), *(asks() for _ in range(20)))
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
                    elector.beat()
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
                elector.beat()
                await asyncio.sleep(0.02)

        with mock.patch.object(Elector, method, fails), self.assertLogs("understudy") as logs:
            async with Elector(address, "miner") as elector:
                await asyncio.wait_for(beats(), 5)
        await server.stop(0)
        told = [line for line in logs.output if line.startswith("ERROR")]
        self.assertEqual(len(told), 1)
        self.assertIn(error, told[0])
        self.assertIn("Traceback", told[0])

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


class Shape(unittest.IsolatedAsyncioTestCase):
    """What docs/clients.md says of all clients."""

    async def asyncSetUp(self):
        self.agent = Agent()
        self.agent.every = 0.01
        self.server, self.address = await self.agent.serve("127.0.0.1:0")

    async def asyncTearDown(self):
        await self.server.stop(0)

    async def until(self, is_so, elector=None, limit=5.0):
        end = time.monotonic() + limit
        while not is_so():
            self.assertLess(time.monotonic(), end, "waited in vain")
            if elector:
                elector.beat()
            await asyncio.sleep(0.002)

    async def never(self, is_so, limit):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            self.assertFalse(is_so())
            await asyncio.sleep(0.002)

    async def test_asking_is_no_beat(self):
        async with Elector(self.address, "miner") as elector:
            await self.never(lambda: elector.is_leader() or elector.grant() or elector.view().leads, 0.2)
            self.assertEqual(self.agent.heard, 0)

    async def test_pulses_beat_for_work_that_is_rare_and_the_late_one_is_named(self):
        with self.assertLogs("understudy") as logs:
            async with Elector(self.address, "miner") as elector:
                blocks, other = elector.pulse("blocks", 60), elector.pulse("other", 0.5)
                blocks.beat()
                await self.never(lambda: self.agent.heard, 0.1)
                other.beat()
                await self.until(elector.is_leader)
                await self.until(lambda: elector.view().late == ("other",))
                await self.until(lambda: self.agent.late == "other")
                await self.until(lambda: not elector.is_leader())
                other.stop()
                await self.until(elector.is_leader)
        self.assertTrue(any("late: other" in line for line in logs.output), logs.output)

    async def test_a_pulse_of_a_term_ends_with_it(self):
        terms = []
        async with Elector(self.address, "miner") as elector:
            none = elector.term_pulse("no term", 0.001)
            none.beat()
            none.stop()

            def elected():
                terms.append(elector.grant())
                if len(terms) == 1:
                    elector.term_pulse("publisher", 0.1).beat()  # and never again

            elector.on_elected(elected)
            await self.until(lambda: len(terms) == 2 and elector.is_leader(), elector)

    async def test_beat_while(self):
        says = "no"

        def check():
            if says == "raise":
                raise RuntimeError("a mistake")
            return says == "yes"

        logging.disable()
        async with Elector(self.address, "miner") as elector:
            elector.beat_while(check)
            for wrong in "no", "raise":
                says = "yes"
                await self.until(elector.is_leader)
                says = wrong
                await self.until(lambda: not elector.is_leader())
        logging.disable(logging.NOTSET)

    async def test_no_term_while_on_lost_runs(self):
        for revision in 1, 0:
            self.agent.revision, self.agent.stood = revision, 0
            cleaned = asyncio.Event()
            async with Elector(self.address, "miner", on_lost=cleaned.wait) as elector:
                await self.until(elector.is_leader, elector)
                await asyncio.sleep(0.05)
                await self.until(lambda: not elector.is_leader())
                before = self.agent.heard
                end = time.monotonic() + 0.3
                while time.monotonic() < end:
                    elector.beat()
                    self.assertFalse(elector.is_leader())
                    await asyncio.sleep(0.005)
                self.assertEqual(self.agent.heard, before)
                self.assertEqual(self.agent.stood > 0, revision > 0)
                cleaned.set()
                await self.until(elector.is_leader, elector)

    async def test_withdraw_comes_first_and_done_acknowledges_when_all_is_over(self):
        self.agent.grants = 3600
        cleaned = asyncio.Event()
        elector = await Elector(self.address, "miner", on_lost=cleaned.wait).__aenter__()
        await self.until(elector.is_leader, elector)
        await asyncio.sleep(0.05)
        elector.withdraw()
        self.assertFalse(elector.is_leader())
        self.assertEqual(elector.view().reason, "withdrawn")
        elector.done()
        await self.until(lambda: self.agent.stood)
        await self.never(lambda: self.agent.acknowledged, 0.1)
        with self.assertRaises(asyncio.TimeoutError):
            await elector.close(0.05)
        cleaned.set()
        await self.until(lambda: self.agent.acknowledged)
        await asyncio.wait_for(elector.close(), 5)

    async def test_late_listeners_and_failures(self):
        self.agent.grants = 3600
        told, lost = [], []
        logging.disable()
        self.addCleanup(logging.disable, logging.NOTSET)
        async with Elector(self.address, "miner", on_lost=lambda: lost.append(1)) as elector:
            await self.until(elector.is_leader, elector)
            await asyncio.sleep(0.05)
            remove = elector.on_elected(lambda: told.append(1))
            self.assertEqual(told, [1])
            remove()
            remove()

            def fails():
                elector.on_elected(lambda: None)
                raise RuntimeError("a mistake")

            elector.on_elected(fails)
            self.assertFalse(elector.is_leader())
            await self.until(lambda: lost == [1] and self.agent.stood)
            self.assertEqual(told, [1])
            elector.done()

    async def test_each_change_is_told_once(self):
        self.agent.elects, views = False, []
        with self.assertLogs("of the miner") as logs:
            async with Elector(self.address, "miner", logger=logging.getLogger("of the miner")) as elector:
                elector.on_change(views.append)
                await self.until(lambda: elector.view().leader == "other-1", elector)
                self.agent.elects = True
                await self.until(elector.is_leader, elector)
        self.assertEqual(len([line for line in logs.output if "no leadership: held_by_other, other-1 leads" in line]), 1)
        self.assertTrue(any(view.leads and view.token == 5 and view.leader == "me-1" for view in views), views)

    async def test_nothing_vouches(self):
        with mock.patch("understudy.vouching.QUIET_AT_FIRST", 0.1), self.assertLogs("understudy") as logs:
            async with Elector(self.address, "miner") as elector:
                await self.until(lambda: elector.view().reason == "no_beats")
        self.assertIn("call beat()", logs.output[0])

    async def test_extending(self):
        self.agent.extends = True
        async with Elector(self.address, "miner", extending=True) as elector:
            await self.until(elector.is_leader)
            pulse = elector.pulse("work", 60)
            await self.until(lambda: not elector.is_leader())
            pulse.stop()
            await self.until(elector.is_leader)
        async with Elector(self.address, "miner") as elector:
            await self.until(lambda: "extending=True" in elector.view().detail, elector)
        self.agent.extends = False
        async with Elector(self.address, "miner", extending=True) as elector:
            await self.until(lambda: "without extending=True" in elector.view().detail)

    async def test_without_an_agent(self):
        async with Always("laptop") as elector:
            self.assertTrue(elector.is_leader() and elector.grant().holds())
            elector.withdraw()
            self.assertFalse(elector.is_leader())
        lost = []
        async with Fake(on_lost=lambda: lost.append(1)) as elector:
            self.assertFalse(elector.is_leader())
            elector.elect()
            self.assertTrue(elector.is_leader())
            await asyncio.sleep(0.01)
            elector.lose("lock_lost")
            self.assertEqual(elector.view().reason, "lock_lost")
            await self.until(lambda: lost)

    async def test_a_forked_child_does_not_lead(self):
        async with Elector(self.address, "miner") as elector:
            await self.until(elector.is_leader, elector)
            held = elector.grant()
            child = os.fork()
            if child == 0:
                os._exit(elector.is_leader() or elector.view().leads or held.holds() or not grant.Grant(1, 2**63).holds())
            self.assertTrue(held.holds() and elector.is_leader())
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)

    async def test_elsewhere_nobody_leads(self):
        with mock.patch("understudy.grant.CLOCK", None), mock.patch("understudy.elector.CLOCK", None):
            self.assertFalse(grant.Grant(1, 2**63).holds())
            with self.assertRaisesRegex(OSError, "understudy.Always"):
                await Elector(self.address, "miner").__aenter__()
            async with Always("laptop") as elector:
                self.assertTrue(elector.is_leader())


if __name__ == "__main__":
    unittest.main()
