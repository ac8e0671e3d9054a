/** What a program may do to its elector without harm. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent, beats, LIMIT, started, until } from "./agent.test.js";
import { Always, Elector, Fake } from "./index.js";

const quiet = { log: () => {} };

test("addresses", LIMIT, async () => {
  const good = ["127.0.0.1:1", "localhost:1", "[::1]:1", "http://127.0.0.1:1", "unix:/run/x.sock", "unix:///run/x.sock", "", undefined];
  for (const address of good) {
    const elector = new Elector(address, "miner", quiet);
    elector.start();
    await elector.close();
  }
  const bad = ["127.0.0.1", "50051", ":50051", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "https://127.0.0.1:50051"];
  for (const address of [...bad, "127.0.0.1:50051/x", "a b:1", "127.0.0.1:50051\n", "unix:", "unix://", "/run/x.sock"]) {
    assert.throws(() => new Elector(address, "miner", quiet).start(), /unix:\/path/, address);
  }
});

test("it starts once", LIMIT, async () => {
  const closed = new Elector("", "miner", quiet);
  await closed.close();
  await closed.close();
  assert.throws(() => closed.start(), /starts once/);
  const always = new Always("miner", quiet);
  always.start();
  assert.throws(() => always.start(), /starts once/);
  await Promise.all([always.close(), always.close(1000)]);
  assert.throws(() => always.start(), /starts once/);
});

test("listeners may do anything", LIMIT, async () => {
  const agent = new Agent();
  const address = await agent.serve();
  for (let round = 0; round < 10; round++) {
    const told: string[] = [];
    const elector = new Elector(address, "miner", quiet);
    const remove = elector.onElected(() => {
      remove();
      remove();
      const held = elector.termPulse("term", 60_000);
      held.beat();
      elector.onElected(async () => {
        told.push("added");
        await elector.close();
        held.beat();
        held.stop();
        held.stop();
        told.push("closed");
      });
    });
    elector.onLost(() => elector.close(3000).then(() => told.push("lost")));
    elector.once("change", () => {
      elector.pulse("another", 60_000).stop();
      elector.on("change", () => assert.fail("of the miner's"));
    });
    elector.start();
    elector.pulse("work", 60_000).beat();
    await until("both have closed it", () => told.includes("closed") && told.includes("lost"));
    await elector.close();
  }
  agent.end();
});

test("an async listener of an event that rejects ends its term, and no process", LIMIT, async () => {
  const fake = new Fake("miner", quiet);
  fake.on("elected", async () => Promise.reject(new Error("of the miner's")));
  fake.start();
  fake.elect();
  await until("it is given up", () => !fake.isLeader() && fake.view().reason === "given_up");
  await fake.close();
});

test("a log that throws or rejects harms nobody", LIMIT, async (t) => {
  const told = t.mock.method(console, "error", () => {});
  const throws = () => {
    throw new Error("of the miner's");
  };
  for (const log of [throws, async () => throws()]) {
    told.mock.resetCalls();
    const agent = new Agent();
    const { elector } = await started(agent, { log });
    let terms = 0;
    elector.onElected(() => {
      terms += 1;
      if (terms === 1) throws();
    });
    elector.pulse("work", 60_000).beat();
    await until("a second term", () => terms === 2 && elector.isLeader());
    await elector.close();
    assert.ok(told.mock.callCount() > 0);
    agent.end();
  }
});

test("a pulse without a limit says so", LIMIT, async () => {
  const agent = new Agent();
  const { elector } = await started(agent);
  const pulse = elector.pulse("blocks", 0);
  await until("it says so", () => {
    pulse.beat();
    return elector.view().late[0] === "blocks (its limit is 0)";
  });
  assert.equal(agent.heard, 0);
  await elector.close();
  agent.end();
});

test("where no agent is the view says what failed", LIMIT, async () => {
  const elector = new Elector("unix:/nowhere/grpc.sock", "miner", quiet);
  elector.start();
  const stop = beats(elector);
  await until("it says so", () => elector.view().detail.includes("ENOENT"));
  stop();
  await elector.close();
});

test("of an agent that hangs the view says so", LIMIT, async () => {
  const sockets: Socket[] = [];
  const hangs = createServer((socket) => sockets.push(socket.on("error", () => {})));
  await new Promise<void>((resolve) => hangs.listen(0, "127.0.0.1", resolve));
  const elector = new Elector(`127.0.0.1:${(hangs.address() as AddressInfo).port}`, "miner", quiet);
  elector.start();
  const stop = beats(elector);
  await until("it says so", () => elector.view().detail.includes("does not answer"));
  stop();
  await elector.close();
  for (const socket of sockets) socket.destroy();
  hangs.close();
});

test("nothing is left after close()", LIMIT, async () => {
  const agent = new Agent();
  const address = await agent.serve();
  const timers = () => process.getActiveResourcesInfo().filter((it) => it === "Timeout").length;
  const before = timers();
  for (let round = 0; round < 10; round++) {
    const elector = new Elector(address, "miner", quiet);
    elector.start();
    elector.beatWhile(() => true);
    for (let each = 0; each < 100; each++) elector.pulse("work", 60_000).beat();
    await until("a term", () => elector.isLeader());
    elector.done();
    await elector.close();
  }
  await sleep(50);
  assert.ok(timers() <= before + 1, `${before} timers, then ${timers()}`);
  agent.end();
});

/** Its exit code, and what it said. */
function run(program: string): [number | null, string] {
  const index = new URL("./index.js", import.meta.url).href;
  const code = `import { Always, Elector } from ${JSON.stringify(index)}; ${program}`;
  const ran = spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8", timeout: 10_000 });
  return [ran.status, ran.stderr + ran.stdout];
}

test("the process lives from start() to close()", LIMIT, () => {
  const [code, said] = run(`
    const elector = new Elector("unix:/nowhere", "miner");
    elector.start();
    elector.pulse("work", 60_000).beat();
    setTimeout(() => { console.log("it lives"); elector.close(); }, 700).unref();
  `);
  assert.deepEqual([code, said.includes("it lives")], [0, true], said);
});

test("a listener that fails ends the process if asked", LIMIT, () => {
  for (const fails of ["() => { throw new Error('oh'); }", "async () => { throw new Error('oh'); }"]) {
    for (const fatal of [true, false]) {
      const [code, said] = run(`
        const always = new Always("miner", { fatalErrors: ${fatal} });
        always.onElected(${fails});
        always.start();
        setTimeout(() => {}, 300);
      `);
      assert.deepEqual([code, said.includes("oh")], [fatal ? 1 : 0, true], said);
    }
  }
});
