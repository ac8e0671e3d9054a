/** What docs/clients.md says of all clients. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent, beats, LIMIT, never, started, until } from "./agent.test.js";
import { Always, Elector, Fake, type View } from "./index.js";

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
