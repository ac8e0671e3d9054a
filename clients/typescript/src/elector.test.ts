import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { Elector as Quiet } from "./elector.js";
import { bootTime } from "./grant.js";
import { CampaignResponse, ElectionServiceService, Leadership, Role } from "./gen/understudy/v1/election.js";

/** Its lines are of no interest here. */
class Elector extends Quiet {
  constructor(agent: string | undefined, miner: string) {
    super(agent, miner, { log: () => {} });
  }
}

/** An agent that answers every heartbeat with a grant of 300 ms or another length, and may say how often it wants one. */
class Agent {
  heard = 0;
  grants = 300;
  /** It answers when this has resolved. */
  answers: Promise<void> | undefined;
  #server = new Server();

  constructor(heartbeatEvery?: { seconds: bigint; nanos: number }) {
    this.#server.addService(ElectionServiceService, {
      campaign: (stream: ServerDuplexStream<unknown, CampaignResponse>) => {
        stream.on("data", async () => {
          this.heard += 1;
          await this.answers;
          const length = BigInt(this.grants) * 1_000_000n;
          const leadership = Leadership.fromPartial({
            role: Role.ROLE_LEADER,
            fencingToken: 5n,
            validUntilBoottimeNs: bootTime() + length,
            validUntilMonotonicNs: process.hrtime.bigint() + length,
            heartbeatEvery,
          });
          stream.write(CampaignResponse.fromPartial({ leadership }));
        });
        stream.on("end", () => stream.end());
        stream.on("error", () => {});
      },
    });
  }

  serve(at = "127.0.0.1:0"): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(at, ServerCredentials.createInsecure(), (error, port) => {
        if (error) reject(error);
        else resolve(`127.0.0.1:${port}`);
      });
    });
  }

  end(): void {
    this.#server.forceShutdown();
  }
}

/** An address where nobody answers yet. */
async function nobody(): Promise<string> {
  const agent = new Agent();
  const address = await agent.serve();
  agent.end();
  return address;
}

test("close() resolves for everyone who calls it", { timeout: 10_000 }, async () => {
  const agent = new Agent();
  const elector = new Elector(await agent.serve(), "miner");
  elector.start();
  const elected = once(elector, "elected");
  elector.beat();
  await elected;
  let fromWithin: Promise<void> | undefined;
  elector.once("lost", () => (fromWithin = elector.close()));
  await Promise.all([elector.close(), elector.close()]);
  await fromWithin;
  await elector.close();
  agent.end();
});

test("trouble is told once, until it changes", { timeout: 10_000 }, async () => {
  const elector = new Elector(await nobody(), "miner");
  let told = 0;
  elector.on("trouble", () => (told += 1));
  elector.start();
  const end = performance.now() + 1000;
  while (performance.now() < end) {
    elector.beat();
    await sleep(20);
  }
  await elector.close();
  assert.equal(told, 1);
});

test("an empty address is the default", () => {
  for (const empty of ["", undefined]) assert.equal(new Elector(empty, "miner").agent, "127.0.0.1:50051");
});

test("an interval of zero does not make every call a heartbeat", { timeout: 10_000 }, async () => {
  const agent = new Agent({ seconds: 0n, nanos: 0 });
  const elector = new Elector(await agent.serve(), "miner");
  elector.start();
  const elected = once(elector, "elected");
  elector.beat();
  await elected;
  for (let calls = 0; calls < 50; calls += 1) {
    elector.beat();
    await sleep(5);
  }
  await elector.close();
  agent.end();
  assert.ok(agent.heard < 5, `${agent.heard} heartbeats`);
});

test("an old beat opens no stream", { timeout: 10_000 }, async () => {
  const address = await nobody();
  const elector = new Elector(address, "miner");
  elector.on("trouble", () => {});
  elector.start();
  elector.beat(); // the loop turns once, and hangs
  await sleep(1000);
  const late = new Agent();
  await late.serve(address);
  await sleep(2000);
  await elector.close();
  late.end();
  assert.equal(late.heard, 0);
});

const OFTEN = { seconds: 0n, nanos: 5_000_000 };

async function leading(agent: Agent): Promise<Elector> {
  const elector = new Elector(await agent.serve(), "miner");
  elector.start();
  while (!elector.isLeader()) {
    elector.beat();
    await sleep(1);
  }
  return elector;
}

/** A thousand questions each 20 ms, until told not to, as a logger would on every line, and a loop that beats. */
function ask(elector: Elector): () => void {
  const thousand = () => {
    for (let asked = 0; asked < 1000; asked += 1) elector.isLeader();
  };
  const askers = [setInterval(thousand, 20), setInterval(() => elector.beat(), 1)];
  return () => askers.forEach(clearInterval);
}

test("no beat counts after close() has begun", { timeout: 10_000 }, async () => {
  const agent = new Agent(OFTEN);
  const elector = await leading(agent);
  const stop = ask(elector);
  const closed = elector.close();
  await sleep(100); // for what was under way
  const before = agent.heard;
  await closed;
  stop();
  agent.end();
  assert.equal(agent.heard, before);
});

test("a grant that comes after close() has begun is not waited for", { timeout: 10_000 }, async () => {
  const agent = new Agent(OFTEN);
  const elector = await leading(agent);
  let answer = () => {};
  agent.answers = new Promise((resolve) => (answer = resolve));
  agent.grants = 3_600_000;
  for (const before = agent.heard; agent.heard === before; await sleep(1)) elector.beat();
  const closed = elector.close();
  answer();
  await closed;
  agent.end();
});

test("an acknowledgement counts after close() has begun", { timeout: 10_000 }, async () => {
  const agent = new Agent(OFTEN);
  agent.grants = 3_600_000;
  const elector = await leading(agent);
  const stop = ask(elector);
  const closed = elector.close();
  await sleep(100);
  elector.acknowledge(5n);
  await closed;
  stop();
  agent.end();
});

test("close() resolves though many ask, at any moment of a campaign", { timeout: 60_000 }, async () => {
  const agent = new Agent(OFTEN);
  agent.grants = 100;
  const address = await agent.serve();
  let longest = 0;
  for (let round = 0; round < 30; round += 1) {
    const elector = new Elector(address, "miner");
    let closed = false;
    elector.on("elected", () => assert.ok(!closed, "a term begins after close()"));
    elector.start();
    const stop = ask(elector);
    await sleep(Math.random() * 2 * agent.grants);
    const began = performance.now();
    if (round % 2) elector.acknowledge(5n);
    closed = true;
    await elector.close();
    longest = Math.max(longest, performance.now() - began);
    assert.ok(!elector.isLeader());
    stop();
  }
  agent.end();
  assert.ok(longest < agent.grants + 1000, `close() took ${longest} ms`);
});
