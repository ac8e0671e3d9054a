/**
 * A sample miner: works only inside its grant, fences its writes, drains when asked.
 *
 *   npm run build && npm start -- --agent 127.0.0.1:50051 --redis-url redis://127.0.0.1:6379
 */
import { appendFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { bootTime, Elector, type Grant } from "understudy-client";

/** Accepts a write only under the greatest token it has ever seen: the stale leader's last defence. */
const FENCED_WRITE = `
local seen = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) < seen then return 0 end
redis.call('PEXPIRE', KEYS[1], 3600000)
redis.call('SET', KEYS[1], ARGV[1])
return 1`;

const { values: args } = parseArgs({
  options: {
    /** The agent beside this miner; empty: 127.0.0.1:50051 */
    agent: { type: "string", default: process.env["UNDERSTUDY_GRPC_ADDR"] ?? "" },
    /** The miner's name, for the agent's `/status` */
    name: { type: "string", default: "sample-miner" },
    /** Where the fenced writes go; without it the miner only says that it acts */
    "redis-url": { type: "string" },
    /** What it did, line by line; standard output without it */
    log: { type: "string" },
    /** How often it works, in milliseconds */
    "work-every-ms": { type: "string", default: "100" },
    /** How many others ask whether it leads, to the last; then it acknowledges nothing */
    askers: { type: "string", default: "0" },
    /** Work once per block, and blocks come this often, in milliseconds; 0: work in a loop */
    "blocks-every-ms": { type: "string", default: "0" },
    /** How long it cleans up after a term, in milliseconds */
    "cleanup-ms": { type: "string", default: "0" },
  },
});
const url = args["redis-url"];
const store = url ? new Redis(url, { maxRetriesPerRequest: 0, retryStrategy: () => 100, commandTimeout: 500 }) : undefined;
// Each write tells by its own error.
store?.on("error", () => {});

let [stopping, hangs] = [false, false];
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => (stopping = true));
process.on("SIGUSR2", () => (hangs = true));

const elector = new Elector(args.agent, args.name);
elector.on("elected", () => say("role", "role=ROLE_LEADER"));
elector.onLost(async () => {
  say("role", "role=ROLE_STANDBY");
  await sleep(Number(args["cleanup-ms"]));
  say("cleaned", "");
});
elector.start();
const askers = Number(args.askers);
// As a logger would on every line.
for (let asker = 0; asker < askers; asker += 1) setInterval(() => elector.isLeader(), 10).unref();
const blocks = Number(args["blocks-every-ms"]);
await (blocks ? workPerBlock(blocks) : work(Number(args["work-every-ms"])));
elector.withdraw();
if (askers === 0) elector.done(); // what askers do at an answer is not known
await elector.close();
store?.disconnect();

/** The work loop. It turns whether the miner leads or not, and vouches for itself. */
async function work(every: number): Promise<void> {
  let term = 0n;
  while (!stopping) {
    elector.beat();
    const grant = elector.grant();
    if (grant) {
      term = grant.token;
      await act(grant);
    } else if (askers === 0) {
      // This loop does one thing at a time: whatever it had begun has ended.
      elector.acknowledge(term);
    }
    await sleep(every);
    if (hangs) await new Promise(() => {}); // to show that the heartbeats hang with it
  }
}

/** Without a loop: what vouches for the work is that blocks come, on a standby too. */
async function workPerBlock(every: number): Promise<void> {
  const pulse = elector.pulse("blocks", 3 * every);
  for (let next = 0; !stopping; await sleep(20)) {
    if (hangs || performance.now() < next) continue;
    next = performance.now() + every;
    pulse.beat();
    const grant = elector.grant();
    if (grant) await act(grant);
  }
}

/** One piece of work. It must be shorter than the grant, and looks at the clock before every effect. */
async function act(grant: Grant): Promise<void> {
  const accepted = await write(grant);
  // The moment that is checked is the one that is written down: on the clock that Node reads to the nanosecond.
  const now = process.hrtime.bigint();
  if (now < grant.untilMonotonic && bootTime() < grant.until) {
    const at = now + grant.until - grant.untilMonotonic;
    say("act", `token=${grant.token} until=${grant.until} accepted=${accepted}`, at);
  }
}

async function write(grant: Grant): Promise<string> {
  if (!store) return "none";
  try {
    return (await store.eval(FENCED_WRITE, 1, "miner:register", grant.token.toString())) === 1 ? "yes" : "no";
  } catch {
    return "unknown";
  }
}

function say(event: string, fields: string, now = bootTime()): void {
  const line = `${now} ${event} ${fields}\n`;
  if (args.log) appendFileSync(args.log, line);
  else writeSync(1, line);
}
