/** An agent for the tests, and how they wait. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Server, ServerCredentials, type sendUnaryData, type ServerDuplexStream, type ServerUnaryCall, status } from "@grpc/grpc-js";
import { bootTime, Elector, type Options } from "./index.js";
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
export const LIMIT = { timeout: 20_000 };

export class Agent {
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

export async function until(what: string, is: () => unknown): Promise<void> {
  const end = performance.now() + 5000;
  for (; !is(); await sleep(2)) assert.ok(performance.now() < end, `waited in vain: ${what}`);
}

export async function never(what: string, ms: number, is: () => unknown): Promise<void> {
  for (const end = performance.now() + ms; performance.now() < end; await sleep(2)) assert.ok(!is(), what);
}

export async function started(agent: Agent, options: Options = {}): Promise<{ elector: Elector; lines: string[] }> {
  const lines: string[] = [];
  const elector = new Elector(await agent.serve(), "miner", { log: (level, line) => lines.push(`${level} ${line}`), ...options });
  elector.start();
  return { elector, lines };
}

/** A loop that beats, until it is told to stop. */
export function beats(elector: Elector): () => void {
  const loop = setInterval(() => elector.beat(), 5);
  return () => clearInterval(loop);
}
