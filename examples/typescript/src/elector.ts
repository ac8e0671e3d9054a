/**
 * A miner's view of its leadership: the file to copy.
 *
 * The agent beside the miner owns the lock in Redis and grants the right to act, each time until a deadline on a clock
 * that both read. An Elector keeps the last grant, so that isLeader() is a comparison and no round trip. Its heartbeats
 * are the calls of the miner's own work loop: whatever stops the work stops them too, and the agent lets another miner
 * lead.
 */
import { EventEmitter } from "node:events";
import { openSync, readSync } from "node:fs";
import { type ClientDuplexStream, credentials, type ServiceError, status } from "@grpc/grpc-js";
import {
  type CampaignRequest,
  type CampaignResponse,
  ElectionServiceClient,
  type Leadership,
  Role,
} from "./gen/understudy/v1/election.js";

/** Where the agent listens unless it is told otherwise. */
const DEFAULT_AGENT = "127.0.0.1:50051";
const FIRST_RETRY = 50;
const LAST_RETRY = 1000;
/** Until the agent has said how often it wants to hear; milliseconds, as all times here that are no bigint. */
const FIRST_HEARTBEAT_EVERY = 300;

const OPTIONS = {
  // The agent is on this machine: no proxy, no idle limit worth the name, and quick retries.
  "grpc.enable_http_proxy": 0,
  "grpc.client_idle_timeout_ms": 2 ** 31 - 1,
  "grpc.initial_reconnect_backoff_ms": FIRST_RETRY,
  "grpc.max_reconnect_backoff_ms": LAST_RETRY,
  // One channel, one connection: not shared with others of this process.
  "grpc.use_local_subchannel_pool": 1,
};

const uptime = openSync("/proc/uptime", "r");

/**
 * CLOCK_BOOTTIME in nanoseconds, at most 10 ms later than it is: Node cannot read it, and /proc/uptime has hundredths of
 * a second.
 */
export function bootTime(): bigint {
  const text = Buffer.alloc(64);
  const [seconds, hundredths] = text.toString("ascii", 0, readSync(uptime, text, 0, 64, 0)).split(" ")[0]!.split(".");
  return (BigInt(seconds!) * 100n + BigInt(hundredths!) + 1n) * 10_000_000n;
}

/** The right to act as leader, until it ends by itself. */
export class Grant {
  constructor(
    /** Grows from term to term. Send it with every write to a store that can refuse a smaller one than it has seen. */
    readonly token: bigint,
    /** When it ends, on CLOCK_BOOTTIME in nanoseconds. */
    readonly until: bigint,
    /** The same moment on CLOCK_MONOTONIC, which Node can read; it stands still while the machine is suspended. */
    readonly untilMonotonic: bigint,
  ) {}

  /** Whether both clocks are still below its end. Ask before every effect. */
  holds(): boolean {
    return process.hrtime.bigint() < this.untilMonotonic && bootTime() < this.until;
  }

  /** Milliseconds until its end, rounded up. */
  left(): number {
    const left = this.untilMonotonic - process.hrtime.bigint();
    return left > 0n ? Number(left / 1_000_000n) + 1 : 0;
  }
}

const NO_GRANT = new Grant(0n, 0n, 0n);

interface Events {
  /** A term begins. */
  elected: [];
  /** A term has ended, whatever ended it. */
  lost: [];
  /** There is no campaign, and why: once, until that changes. It is tried again. */
  trouble: [error: Error];
}

/**
 * Campaigns for one miner. `agent` is an address ("127.0.0.1:50051", which "" and undefined mean too) or a socket
 * ("unix:/run/understudy/grpc.sock"); the miner's name is for the agent's status.
 */
export class Elector extends EventEmitter<Events> {
  #last = NO_GRANT; // the last one that was sent on the present stream
  #leading = false; // and it stands
  #endedBy = 0n; // the version that ended it, unless it stands
  #stopped = 0n; // nothing acts any more under this token and smaller ones: the miner's word
  #announced = 0n; // the token of the term that was announced
  #every = FIRST_HEARTBEAT_EVERY;
  #beaten = -Infinity;
  #retry = FIRST_RETRY;
  #mayCampaign = false;
  #timer: NodeJS.Timeout | undefined;
  #stream: ClientDuplexStream<CampaignRequest, CampaignResponse> | undefined;
  #client: ElectionServiceClient;
  #said: string | undefined; // of the trouble
  #closed: Promise<void> | undefined;
  #over = () => {};

  readonly agent: string;

  constructor(
    agent: string | undefined,
    readonly miner: string,
  ) {
    super();
    this.agent = agent || DEFAULT_AGENT;
    this.#client = new ElectionServiceClient(this.agent, credentials.createInsecure(), OPTIONS);
  }

  /** Returns at once; an agent that is not there yet is waited for. */
  start(): void {
    this.#mayCampaign = true;
  }

  /** Whether the miner may act now. It is a heartbeat too: ask from the loop that does the work. */
  isLeader(): boolean {
    return this.grant() !== undefined;
  }

  /** isLeader() with the token, for writes that are fenced. */
  grant(): Grant | undefined {
    this.beat();
    return this.#held();
  }

  /**
   * Tells the agent that the work loop turns. The miner is a candidate only while it beats: call it, or isLeader(), from
   * a loop that also turns while the miner stands by, several times a second. What is more than the agent wants is not
   * sent.
   */
  beat(): void {
    const now = performance.now();
    if (this.#closed || now - this.#beaten < this.#every) return;
    this.#beaten = now;
    if (this.#mayCampaign) this.#campaign();
    this.#send();
  }

  /**
   * Says that nothing of the term with this token acts any more, and nothing will: the next leader need not wait for the
   * end of its last grant. Optional, and only for when all work of the term has ended. If the term still stands, it ends.
   */
  acknowledge(token: bigint): void {
    if (token <= this.#stopped) return;
    this.#stopped = token;
    if (this.#leading && this.#last.token <= token) this.#stream?.cancel();
    else if (this.#acknowledged()) this.#send();
    this.#announce();
  }

  /**
   * Leaves: isLeader() is false from here on, "lost" is emitted, and once the term was acknowledged or its last grant is
   * over the campaign ends and the lock goes to the next miner. Nothing extends that grant, even if others go on asking. It
   * resolves after that.
   */
  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => (this.#over = resolve));
    this.#announce();
    return this.#closed;
  }

  #held(): Grant | undefined {
    const last = this.#last;
    return !this.#closed && this.#leading && last.token > this.#stopped && last.holds() ? last : undefined;
  }

  /** One campaign, until its stream ends. Only a beat opens one. */
  #campaign(): void {
    this.#mayCampaign = false;
    const stream = this.#client.campaign();
    this.#stream = stream;
    stream.on("data", (response: CampaignResponse) => {
      [this.#retry, this.#said] = [FIRST_RETRY, undefined];
      if (response.leadership && this.#stream === stream) this.#take(response.leadership);
    });
    stream.on("error", (error: ServiceError) => {
      if (error.code === status.CANCELLED || error.message === this.#said) return;
      this.#said = error.message;
      this.emit("trouble", error);
    });
    // However it ended, the stream is gone, and with it the grant.
    stream.once("status", () => {
      this.#stream = undefined;
      [this.#last, this.#leading, this.#beaten] = [NO_GRANT, false, -Infinity];
      setTimeout(() => (this.#mayCampaign = true), this.#retry).unref();
      this.#retry = Math.min(2 * this.#retry, LAST_RETRY);
      this.#announce();
    });
  }

  /** What the agent says becomes what isLeader() compares with the clock. */
  #take(now: Leadership): void {
    if (now.role === Role.ROLE_LEADER && this.#closed) {
      // Nothing extends the grant that close() waits for.
    } else if (now.role === Role.ROLE_LEADER) {
      const same = now.fencingToken === this.#last.token;
      const until = same && this.#last.until > now.validUntilBoottimeNs ? this.#last.until : now.validUntilBoottimeNs;
      const monotonic =
        same && this.#last.untilMonotonic > now.validUntilMonotonicNs
          ? this.#last.untilMonotonic
          : now.validUntilMonotonicNs;
      [this.#last, this.#leading] = [new Grant(now.fencingToken, until, monotonic), true];
    } else if (this.#leading) {
      [this.#leading, this.#endedBy] = [false, now.version];
      if (this.#acknowledged()) this.#send();
    }
    const { seconds, nanos } = now.heartbeatEvery ?? { seconds: 0n, nanos: 0 };
    const every = Number(seconds) * 1000 + nanos / 1e6;
    if (every > 0) this.#every = every;
    this.#announce();
  }

  /** The version of which it is true that nothing begun before it still acts; 0: none is known. */
  #acknowledged(): bigint {
    const over = !this.#leading && this.#last.token > 0n && this.#last.token <= this.#stopped;
    return over ? this.#endedBy : 0n;
  }

  #send(): void {
    // An agent that does not read is not sent more: it will not hear this beat either.
    if (this.#stream && !this.#stream.writableNeedDrain) {
      this.#stream.write({ miner: this.miner, acknowledgedVersion: this.#acknowledged() });
    }
  }

  /** Emits what is new, and waits for the end of a grant. */
  #announce(): void {
    clearTimeout(this.#timer);
    const grant = this.#held();
    if (this.#announced && grant?.token !== this.#announced) {
      this.#announced = 0n;
      this.emit("lost");
      return this.#announce();
    }
    if (grant && !this.#announced) {
      this.#announced = grant.token;
      this.emit("elected");
      return this.#announce();
    }
    const over = this.#last.token <= this.#stopped || !this.#last.holds();
    if (this.#closed && over) {
      this.#stream?.cancel();
      this.#client.close();
      this.#over();
    } else if (!over) {
      this.#timer = setTimeout(() => this.#announce(), this.#last.left());
    }
  }
}
