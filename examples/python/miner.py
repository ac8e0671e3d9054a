"""A sample miner: works only inside its grant, fences its writes, drains when asked.

python miner.py --agent 127.0.0.1:50051 --redis-url redis://127.0.0.1:6379
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import TextIO

from redis.asyncio import Redis
from redis.exceptions import RedisError
from understudy import Elector, Grant, boottime_ns

# Accepts a write only under the greatest token it has ever seen: the stale leader's last defence.
FENCED_WRITE = """
local seen = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) < seen then return 0 end
redis.call('PEXPIRE', KEYS[1], 3600000)
redis.call('SET', KEYS[1], ARGV[1])
return 1"""


class Miner:
    def __init__(self, store: Redis | None, log: TextIO, askers: int):
        self.store, self.log, self.askers = store, log, askers
        self.hang = asyncio.Event()
        self.fenced_write = store.register_script(FENCED_WRITE) if store else None

    async def work(self, elector: Elector, stop: asyncio.Event, every: float) -> None:
        """The work loop. It turns whether the miner leads or not, and vouches for itself."""
        term = 0
        while not stop.is_set():
            elector.beat()
            if grant := elector.grant():
                term = grant.token
                await self.act(grant)
            elif term:
                # This loop does one thing at a time: whatever it had begun has ended.
                self.acknowledge(elector, term)
                term = 0
            await asyncio.sleep(every)
            if self.hang.is_set():
                await asyncio.Event().wait()  # to show that the heartbeats hang with it

    async def work_per_block(self, elector: Elector, stop: asyncio.Event, every: float) -> None:
        """Without a loop: what vouches for the work is that blocks come, on a standby too."""
        blocks = elector.pulse("blocks", 3 * every)
        while not stop.is_set():
            if not self.hang.is_set():
                blocks.beat()
                if grant := elector.grant():
                    await self.act(grant)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), every)

    async def clean_up(self, takes: float) -> None:
        self.say("role", "role=ROLE_STANDBY")
        await asyncio.sleep(takes)
        self.say("cleaned", "")

    async def ask(self, elector: Elector) -> None:
        """As a logger would on every line."""
        while True:
            elector.is_leader()
            await asyncio.sleep(0.01)

    def acknowledge(self, elector: Elector, term: int) -> None:
        if not self.askers:  # what they do at an answer is not known
            elector.acknowledge(term)

    async def act(self, grant: Grant) -> None:
        """One piece of work. It must be shorter than the grant, and looks at the clock before every effect."""
        accepted = await self.write(grant)
        # The moment that is checked is the one that is written down.
        now = boottime_ns()
        if now < grant.until:
            self.say("act", f"token={grant.token} until={grant.until} accepted={accepted}", now)

    async def write(self, grant: Grant) -> str:
        if not self.fenced_write:
            return "none"
        try:
            writing = self.fenced_write(keys=["miner:register"], args=[grant.token])
            return "yes" if await asyncio.wait_for(writing, 0.5) == 1 else "no"
        except (RedisError, OSError, asyncio.TimeoutError):
            return "unknown"

    def say(self, event: str, fields: str, now: int | None = None) -> None:
        print(now or boottime_ns(), event, fields, file=self.log, flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description="A sample miner")
    agent = os.environ.get("UNDERSTUDY_GRPC_ADDR")
    parser.add_argument("--agent", default=agent, help="the agent beside this miner; empty: 127.0.0.1:50051")
    parser.add_argument("--name", default="sample-miner", help="the miner's name, for the agent's /status")
    parser.add_argument("--redis-url", help="where the fenced writes go; without it the miner only says that it acts")
    parser.add_argument("--log", help="what it did, line by line; standard output without it")
    parser.add_argument("--work-every-ms", type=int, default=100, help="how often it works")
    askers = "how many others ask whether it leads, to the last; then it acknowledges nothing"
    parser.add_argument("--askers", type=int, default=0, help=askers)
    parser.add_argument("--blocks-every-ms", type=int, default=0, help="work once per block, and blocks come this often")
    parser.add_argument("--cleanup-ms", type=int, default=0, help="how long it cleans up after a term")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = Redis.from_url(args.redis_url) if args.redis_url else None
    miner = Miner(store, open(args.log, "a") if args.log else sys.stdout, args.askers)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, miner.hang.set)
    elector = Elector(
        args.agent,
        args.name,
        on_elected=lambda: miner.say("role", "role=ROLE_LEADER"),
        on_lost=lambda: miner.clean_up(args.cleanup_ms / 1000),
    )
    async with elector:
        asking = [asyncio.create_task(miner.ask(elector)) for _ in range(args.askers)]
        if args.blocks_every_ms:
            await miner.work_per_block(elector, stop, args.blocks_every_ms / 1000)
        else:
            await miner.work(elector, stop, args.work_every_ms / 1000)
        elector.withdraw()
        if not args.askers:
            elector.done()
        for task in asking:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
