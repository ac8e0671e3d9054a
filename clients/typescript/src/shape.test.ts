/** What docs/clients.md says of all clients. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Server, ServerCredentials, type sendUnaryData, type ServerDuplexStream, type ServerUnaryCall, status } from "@grpc/grpc-js";
import { Always, bootTime, Elector, Fake, type Options, type View } from "./index.js";
import {
  type CampaignRequest,
  CampaignResponse,
  ElectionServiceService,
  type GetLeadershipRequest,
  GetLeadershipResponse,
  Leadership,
  Reason,
  Role,
} from "./gen/understudy/v1/election.js";

const EVERY = { seconds: 0n, nanos: 10_000_000 };
const LIMIT = { timeout: 20_000 };

class Agent {
  heard = 0;
  stood = 0;
  acknowledged = 0n;
  late = "";
  grants = 300;
  elects = true;
  probes = false;
  version = 0n;
  /** Grows when the miner has stood down. */
  token = 5n;
  #standing = false;
  #server = new Server();

  constructor(readonly revision = 1) {
    this.#server.addService(ElectionServiceService, {
      campaign: (stream: ServerDuplexStream<CampaignRequest, CampaignResponse>) => {
        stream.on("error", () => {});
        if (this.probes) {
          stream.emit("error", { code: status.FAILED_PRECONDITION, details: "nobody campaigns" });
          return;
        }
        stream.write(CampaignResponse.fromPartial({ leadership: { role: Role.ROLE_STANDBY }, revision }));
        stream.on("data", (request) => {
          stream.write(CampaignResponse.fromPartial({ leadership: this.#hear(request), revision }));
        });
        stream.on("end", () => stream.end());
      },
      getLeadership: (
        call: ServerUnaryCall<GetLeadershipRequest, GetLeadershipResponse>,
        answer: sendUnaryData<GetLeadershipResponse>,
      ) => {
        if (call.request.extend && !this.probes) return answer({ code: status.FAILED_PRECONDITION, details: "campaign" });
        const leadership = call.request.extend ? this.#grant() : Leadership.fromPartial({ role: Role.ROLE_STANDBY, heartbeatEvery: EVERY });
        answer(null, GetLeadershipResponse.fromPartial({ leadership }));
      },
    });
  }

  #grant(): Leadership {
    const length = BigInt(this.grants) * 1_000_000n;
    return Leadership.fromPartial({
      role: Role.ROLE_LEADER,
      reason: Reason.REASON_ELECTED,
      fencingToken: this.token,
      leaderId: "me-1",
      version: this.version,
      validUntilBoottimeNs: bootTime() + length,
      validUntilMonotonicNs: process.hrtime.bigint() + length,
      heartbeatEvery: EVERY,
    });
  }

  #hear(request: CampaignRequest): Leadership {
    this.version += 1n;
    if (request.acknowledgedVersion > this.acknowledged) this.acknowledged = request.acknowledgedVersion;
    const { version } = this;
    const stands = request.standingDown && this.revision > 0;
    if (this.#standing && !stands) this.token += 1n;
    this.#standing = stands;
    if (stands) {
      this.stood += 1;
      return Leadership.fromPartial({ role: Role.ROLE_IDLE, reason: Reason.REASON_NOT_CANDIDATE, version, heartbeatEvery: EVERY });
    }
    const other = { role: Role.ROLE_STANDBY, reason: Reason.REASON_HELD_BY_OTHER, leaderId: "other-1", version };
    if (request.late) this.late = request.late;
    else {
      this.heard += 1;
      if (this.elects) return this.#grant();
    }
    return Leadership.fromPartial({ ...other, heartbeatEvery: EVERY });
  }

  serve(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
        if (error) reject(error);
        else resolve(`127.0.0.1:${port}`);
      });
    });
  }

  end(): void {
    this.#server.forceShutdown();
  }
}

async function until(what: string, is: () => unknown): Promise<void> {
  const end = performance.now() + 5000;
  for (; !is(); await sleep(2)) assert.ok(performance.now() < end, `waited in vain: ${what}`);
}

async function never(what: string, ms: number, is: () => unknown): Promise<void> {
  for (const end = performance.now() + ms; performance.now() < end; await sleep(2)) assert.ok(!is(), what);
}

async function started(agent: Agent, options: Options = {}): Promise<{ elector: Elector; lines: string[] }> {
  const lines: string[] = [];
  const elector = new Elector(await agent.serve(), "miner", { log: (level, line) => lines.push(`${level} ${line}`), ...options });
  elector.start();
  return { elector, lines };
}

/** A loop that beats, until it is told to stop. */
function beats(elector: Elector): () => void {
  const loop = setInterval(() => elector.beat(), 5);
  return () => clearInterval(loop);
}

test("asking is no beat", LIMIT, async () => {
  const agent = new Agent();
  const { elector } = await started(agent);
  await never("it is a candidate", 200, () => elector.isLeader() || elector.grant() || elector.view().leads || agent.heard);
  await elector.close();
  agent.end();
});

test("pulses beat for work that is rare, and the late one is named", LIMIT, async () => {
  const agent = new Agent();
  const { elector, lines } = await started(agent);
  const [blocks, other] = [elector.pulse("blocks", 60_000), elector.pulse("other", 500)];
  blocks.beat();
  await never("a heartbeat before all have beaten", 100, () => agent.heard);
  other.beat();
  await until("a term", () => elector.isLeader());
  await until("it is late", () => elector.view().late.join() === "other" && agent.late === "other");
  await until("the grant runs out", () => !elector.isLeader());
  other.stop();
  await until("a term", () => elector.isLeader());
  assert.ok(lines.some((line) => line.includes("sends no heartbeat: late: other")), lines.join("\n"));
  await elector.close();
  agent.end();
});

test("a pulse of a term ends with it", LIMIT, async () => {
  const agent = new Agent();
  const { elector } = await started(agent);
  let terms = 0;
  elector.termPulse("no term", 1).beat();
  elector.onElected(() => {
    terms += 1;
    if (terms === 1) elector.termPulse("publisher", 100).beat(); // and never again
  });
  const stop = beats(elector);
  await until("a term without it", () => terms === 2 && elector.isLeader());
  stop();
  await elector.close();
  agent.end();
});

test("beatWhile() vouches while its check says yes", LIMIT, async () => {
  const agent = new Agent();
  const { elector } = await started(agent);
  let says = "no";
  elector.beatWhile(() => {
    if (says === "throw") throw new Error("a mistake");
    return says === "yes";
  });
  for (const wrong of ["no", "throw"]) {
    says = "yes";
    await until("a term", () => elector.isLeader());
    says = wrong;
    await until("the grant runs out", () => !elector.isLeader());
  }
  await elector.close();
  agent.end();
});

test("no term while onLost() runs", LIMIT, async () => {
  for (const revision of [1, 0]) {
    const agent = new Agent(revision);
    const { elector } = await started(agent);
    let [cleaned, lost] = [() => {}, false];
    elector.onLost(() => {
      lost = true;
      return new Promise<void>((resolve) => (cleaned = resolve));
    });
    const stop = beats(elector);
    await until("a term", () => elector.isLeader());
    stop();
    await until("it is lost", () => lost);
    const before = agent.heard;
    const again = beats(elector);
    await never("it leads", 300, () => elector.isLeader());
    assert.equal(agent.heard, before);
    assert.equal(agent.stood > 0, revision > 0);
    cleaned();
    await until("the next term", () => elector.isLeader());
    again();
    elector.onLost(() => cleaned());
    const closed = elector.close();
    await until("it is lost", () => !elector.isLeader());
    await closed;
    agent.end();
  }
});

test("withdraw() comes first, and done() acknowledges when all is over", LIMIT, async () => {
  const agent = new Agent();
  agent.grants = 3_600_000;
  const { elector } = await started(agent);
  let cleaned = () => {};
  elector.onLost(() => new Promise<void>((resolve) => (cleaned = resolve)));
  const stop = beats(elector);
  await until("a term", () => elector.isLeader());
  elector.withdraw();
  assert.ok(!elector.isLeader());
  assert.equal(elector.view().reason, "withdrawn");
  elector.done();
  await until("it stands down", () => agent.stood);
  await never("acknowledged while onLost() runs", 100, () => agent.acknowledged);
  cleaned();
  await until("it is acknowledged", () => agent.acknowledged);
  await elector.close();
  stop();
  agent.end();
});

test("close() waits no longer than it is told to", LIMIT, async () => {
  const agent = new Agent();
  agent.grants = 3_600_000;
  const { elector } = await started(agent);
  const stop = beats(elector);
  await until("a term", () => elector.isLeader());
  await assert.rejects(elector.close(50));
  elector.done();
  await elector.close();
  stop();
  agent.end();
});

test("a late listener runs, and one that fails ends the term", LIMIT, async () => {
  const agent = new Agent();
  agent.grants = 3_600_000;
  const { elector, lines } = await started(agent);
  let [told, lost] = [0, 0];
  elector.on("lost", () => (lost += 1));
  const stop = beats(elector);
  await until("a term", () => elector.isLeader());
  const remove = elector.onElected(() => (told += 1));
  assert.equal(told, 1);
  remove();
  const removeThis = elector.onElected(() => Promise.reject(new Error("a mistake")));
  await until("the term ends, and the next begins", () => lost === 1 && agent.stood);
  removeThis();
  await until("the next term", () => elector.isLeader());
  assert.equal(told, 1);
  assert.ok(lines.some((line) => line.startsWith("error") && line.includes("a mistake")));
  elector.done();
  await elector.close();
  stop();
  agent.end();
});

test("each change is told once", LIMIT, async () => {
  const agent = new Agent();
  agent.elects = false;
  const { elector, lines } = await started(agent);
  const views: View[] = [];
  elector.on("change", (view) => views.push(view));
  const stop = beats(elector);
  await until("who leads", () => elector.view().leader === "other-1");
  agent.elects = true;
  await until("a term", () => elector.isLeader());
  stop();
  assert.equal(lines.filter((line) => line.includes("no leadership: held_by_other, other-1 leads")).length, 1);
  assert.ok(views.some((view) => view.leads && view.token === 5n && view.leader === "me-1" && view.role === "leader"));
  await elector.close();
  agent.end();
});

test("where nothing vouches a line says what to call", LIMIT, async () => {
  const agent = new Agent();
  const { elector, lines } = await started(agent);
  await until("the line", () => lines.some((line) => line.startsWith("warn") && line.includes("call beat()")));
  await elector.close();
  agent.end();
});

test("the mode for probe and always", LIMIT, async () => {
  const agent = new Agent();
  agent.probes = true;
  const { elector } = await started(agent, { extending: true });
  await until("a term", () => elector.isLeader());
  const pulse = elector.pulse("work", 60_000);
  await until("nothing is extended", () => !elector.isLeader());
  pulse.stop();
  await until("a term", () => elector.isLeader());
  await elector.close();
  const wrong = new Elector(elector.agent, "miner", { log: () => {} });
  wrong.start();
  const stop = beats(wrong);
  await until("it says what is wrong", () => wrong.view().detail.includes("make the elector with extending"));
  stop();
  await wrong.close();
  agent.probes = false;
  const other = new Elector(elector.agent, "miner", { log: () => {}, extending: true });
  other.start();
  await until("it says what is wrong", () => other.view().detail.includes("without extending"));
  await other.close();
  agent.end();
});

test("without an agent", LIMIT, async () => {
  const always = new Always("laptop", { log: () => {} });
  always.start();
  assert.ok(always.isLeader() && always.grant()?.holds());
  always.withdraw();
  assert.ok(!always.isLeader());
  await always.close();
  const fake = new Fake("test", { log: () => {} });
  let lost = 0;
  fake.on("lost", () => (lost += 1));
  fake.start();
  assert.ok(!fake.isLeader());
  fake.elect();
  assert.ok(fake.isLeader());
  fake.lose("lock_lost");
  assert.equal(lost, 1);
  assert.equal(fake.view().reason, "lock_lost");
  await fake.close();
});
