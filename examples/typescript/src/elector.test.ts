import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { bootTime, Elector } from "./elector.js";
import { CampaignResponse, ElectionServiceService, Leadership, Role } from "./gen/understudy/v1/election.js";

/** An agent that answers every heartbeat with a grant of 300 ms, and may say how often it wants one. */
class Agent {
  heard = 0;
  #server = new Server();

  constructor(heartbeatEvery?: { seconds: bigint; nanos: number }) {
    this.#server.addService(ElectionServiceService, {
      campaign: (stream: ServerDuplexStream<unknown, CampaignResponse>) => {
        stream.on("data", () => {
          this.heard += 1;
          const length = 300_000_000n;
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
    elector.isLeader();
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
