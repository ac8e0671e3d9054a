"""What a program may do to its elector without harm."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import textwrap
import threading
import unittest
from unittest import mock

from test_elector import Agent
from understudy import Always, Elector, Fake


class Hostile(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.agent = Agent()
        self.server, self.address = await self.agent.serve("127.0.0.1:0")
        logging.disable()

    async def asyncTearDown(self):
        logging.disable(logging.NOTSET)
        await self.server.stop(0)

    async def until(self, done):
        async def waits():
            while not done():
                await asyncio.sleep(0.005)

        await asyncio.wait_for(waits(), 5)

    async def test_addresses(self):
        good = ["127.0.0.1:1", "localhost:1", "[::1]:1", "http://127.0.0.1:1", "unix:/run/x.sock", "unix:///run/x.sock", "", None]
        for address in good:
            async with Elector(address, "miner"):
                pass
        bad = ["127.0.0.1", "50051", ":50051", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "https://127.0.0.1:50051"]
        for address in [*bad, "127.0.0.1:50051/x", "a b:1", "127.0.0.1:50051\n", "unix:", "unix://", "/run/x.sock"]:
            with self.assertRaisesRegex(ValueError, "unix:/path", msg=address):
                await Elector(address, "miner").__aenter__()

    async def test_it_starts_once(self):
        closed = Elector(self.address, "miner")
        await closed.close()
        await closed.close()
        with self.assertRaisesRegex(RuntimeError, "starts once"):
            await closed.__aenter__()
        async with Fake() as fake:
            with self.assertRaisesRegex(RuntimeError, "starts once"):
                await fake.__aenter__()
        with self.assertRaisesRegex(RuntimeError, "starts once"):
            await fake.__aenter__()

    async def test_callbacks_may_close_at_once_and_within_a_task_of_their_own(self):
        for timeout in (None, 3):
            closed: list[str] = []

            async def closes(what: str):
                await asyncio.create_task(elector.close(timeout))
                closed.append(what)

            elector = Elector(self.address, "miner", on_elected=lambda: asyncio.ensure_future(closes("elected")))
            elector.on_lost(lambda: closes("lost"))
            elector.on_lost(lambda: closes("lost too"))
            async with elector:
                elector.pulse("work", 60).beat()
                await self.until(lambda: len(closed) >= 2)
                await asyncio.wait_for(elector.close(), 5)
            self.assertLessEqual({"lost", "lost too"}, set(closed))

    async def test_what_a_callback_returns_is_awaited_if_it_can_be(self):
        async with Fake() as fake:
            fake.on_elected(lambda: True)
            fake.elect()
            await asyncio.sleep(0.05)
            self.assertTrue(fake.is_leader())

    async def test_callbacks_may_remove_themselves_and_add_others(self):
        told: list[str] = []
        async with Fake() as fake:

            def elected():
                told.append("first")
                remove()
                remove()
                fake.on_elected(lambda: told.append("added"))
                fake.on_change(lambda _: fake.on_change(lambda _: 1 / 0))

            remove = fake.on_elected(elected)
            for _ in range(2):
                fake.elect()
                await self.until(lambda: told.count("added") > told.count("lost"))
                fake.lose()
                await asyncio.sleep(0.01)
                told.append("lost")
        self.assertEqual(told, ["first", "added", "lost", "added", "lost"])

    async def test_threads_vouch_and_ask(self):
        async with Elector(self.address, "miner") as elector:
            self.agent.every = 600  # nothing else wakes the loop
            await self.until(lambda: elector.beat() or elector.view().role)
            self.agent.every, heard, end = 0.05, self.agent.heard, threading.Event()
            pulse = elector.pulse("work", 60)

            def works():
                while not end.wait(0.005):
                    elector._sent = 0
                    elector.beat()
                    pulse.beat()

            thread = threading.Thread(target=works)
            thread.start()
            await self.until(lambda: self.agent.heard > heard + 5)
            await asyncio.to_thread(lambda: [elector.is_leader() for _ in range(1000)])
            end.set()
            thread.join()

    async def test_a_pulse_without_a_limit_says_so(self):
        async with Elector(self.address, "miner") as elector:
            pulse = elector.pulse("blocks", 0)
            await self.until(lambda: pulse.beat() or elector.view().late == ("blocks (its limit is 0)",))
            self.assertEqual(self.agent.heard, 0)

    async def test_where_no_agent_is_the_view_says_what_failed(self):
        async with Elector("unix:/nowhere/grpc.sock", "miner") as elector:
            await self.until(lambda: elector.beat() or "No such file" in elector.view().detail)

    async def test_nothing_is_left_after_close(self):
        before = asyncio.all_tasks()
        for _ in range(10):
            elector = Elector(self.address, "miner", on_elected=asyncio.Event().wait, on_lost=lambda: asyncio.sleep(0.01))
            async with elector:
                elector.beat_while(lambda: True)
                for _ in range(100):
                    elector.pulse("work", 60).beat()
                await self.until(elector.is_leader)
                elector.done()
        await self.until(lambda: not {it for it in asyncio.all_tasks() - before if "understudy" in str(it.get_coro())})

    async def test_a_stream_that_ends_just_before_it_is_cancelled_harms_nobody(self):
        class Ended:
            """What gRPC makes of that: it raises as if it were cancelled, and says that it is not."""

            def __init__(self):
                self.over = asyncio.Event()

            async def __aiter__(self):
                await self.over.wait()
                raise asyncio.CancelledError
                yield

            async def write(self, _):
                pass

            def cancel(self):
                self.over.set()

            def cancelled(self):
                return False

        with mock.patch("understudy.campaign.ElectionServiceStub") as stub:
            stub.return_value.Campaign = Ended
            async with Elector(self.address, "miner") as elector:
                elector.beat()
                await self.until(lambda: stub.called)

    async def test_a_logger_that_raises_harms_nobody(self):
        class Broken(logging.Logger):
            lines = 0

            def log(self, *_, **__):
                self.lines += 1
                raise RuntimeError("of the miner's")

        def fails():
            raise RuntimeError("a mistake")

        logger, lost = Broken("broken"), []
        async with Elector(self.address, "miner", logger=logger, on_elected=fails, on_lost=lambda: lost.append(1)) as elector:
            elector.pulse("work", 60).beat()
            await self.until(lambda: lost and self.agent.stood)
            elector.done()
        self.assertGreater(logger.lines, 2)

    async def test_a_failure_ends_the_process_if_asked(self):
        for raises in ("def elected(): 1 / 0", "async def elected(): 1 / 0"):
            program = f"""
                import asyncio, understudy
                {raises}
                async def main():
                    async with understudy.Always("miner", on_elected=elected, fatal_errors=FATAL):
                        await asyncio.sleep(1)
                asyncio.run(main())
            """
            for fatal in (True, False):
                code = textwrap.dedent(program).replace("FATAL", str(fatal))
                ran = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True)
                self.assertEqual((ran.returncode, "ZeroDivisionError" in ran.stderr), (int(fatal), True), ran.stderr)

    async def test_a_fake_is_what_with_gives(self):
        async with Fake() as fake, Always() as always:
            self.assertEqual((fake.elect(), always.is_leader()), (1, True))


if __name__ == "__main__":
    unittest.main()
