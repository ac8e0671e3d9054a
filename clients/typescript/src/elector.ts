/**
 * A miner's view of its leadership.
 *
 * The agent beside the miner owns the lock in Redis and grants the right to act, each time until a deadline on a clock
 * that both read. An Elector keeps the last grant, so that isLeader() is a comparison and no round trip. Asking is not
 * beating: what vouches for the miner's work is said, by beat(), by pulses, or by beatWhile().
 */
import { captureRejectionSymbol, EventEmitter } from "node:events";
import { type ClientDuplexStream, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { DEFAULT_AGENT, dial, FIRST_RETRY, LAST_RETRY } from "./dial.js";
import {
  type CampaignRequest,
  type CampaignResponse,
  type ElectionServiceClient,
  type Leadership,
  reasonToJSON,
  Role,
  roleToJSON,
} from "./gen/understudy/v1/election.js";
import { Grant, NO_GRANT, supported } from "./grant.js";
import { Pulse } from "./pulse.js";
import { type Level, line, told, type View } from "./view.js";
import { Vouching } from "./vouching.js";

/** Until the agent has said how often it wants to hear; milliseconds, as all times here that are no bigint. */
const FIRST_HEARTBEAT_EVERY = 300;
/** An agent that lives answers within 100 ms. */
const PATIENCE = 3000;
/** A timer of more than 2^31 ms fires at once. */
const LONGEST = 3_600_000;
/** The first revision of the agent that understands `standing_down` and `late`: an older one takes both for heartbeats. */
const UNDERSTANDS_MORE = 1;

interface Events {
  /** A term begins. */
  elected: [];
  /** A term has ended, whatever ended it. Cleanup that takes time belongs into onLost(). */
  lost: [];
  /** Anything that view() shows is new. */
  change: [view: View];
  /** There is no campaign, and why: once, until that changes. It is tried again. */
  trouble: [error: Error];
}

type Listener = () => unknown;

export interface Options {
  /** Where each change is told; the console unless it is set. It may ask the elector. */
  log?: (level: Level, line: string) => void;
  /** Ask for each grant, in place of campaigning: for --miner-liveness=probe and always. */
  extending?: boolean;
  /** false: a listener of onElected() that is added while the miner leads does not run for that term. */
  catchUp?: boolean;
  /** A listener that throws or rejects ends the process, as an uncaught exception. Without it that is logged and ends the term. */
  fatalErrors?: boolean;
}

/**
 * Campaigns for one miner. `agent` is an address ("127.0.0.1:50051", which "" and undefined mean too) or a socket
 * ("unix:/run/understudy/grpc.sock"); the miner's name is for the agent's status.
 */
export class Elector extends EventEmitter<Events> {
  #last = NO_GRANT; // the last one that was sent on the present stream
  #leading = false; // and the agent says that it stands
  #endedBy = 0n; // the version that ended it, unless it stands
  #stopped = 0n; // nothing acts any more under this token and smaller ones: the miner's word
  #givenUp = 0n; // nor does the miner lead under this one
  #announced = 0n; // the token of the term that was announced, until its end was cleaned up
  #cleaning = false; // the listeners of its end run
  #finished = false; // done() was called: the last term is acknowledged when they have ended
  #withdrawn = false;
  #said = { role: "", reason: "starting", leader: "", instance: "" };
  #trouble = ""; // why there is no stream
  #view: View = { leads: false, token: 0n, ...this.#said, detail: "", late: [] };
  #onElected: Listener[] = [];
  #onLost: Listener[] = [];
  #every = FIRST_HEARTBEAT_EVERY;
  #sent = -Infinity; // when a heartbeat was last due
  #due = false; // a heartbeat is to be sent
  #vouching = new Vouching();
  #revision = 0; // what the agent at the end of the stream understands
  #retry = FIRST_RETRY;
  #mayCampaign = false;
  #started = false;
  #hasAgent = true;
  #timer: NodeJS.Timeout | undefined; // the end of a grant
  #tending: NodeJS.Timeout | undefined;
  #stream: ClientDuplexStream<CampaignRequest, CampaignResponse> | undefined;
  #client: ElectionServiceClient | undefined;
  #ended = false; // nothing is left to do
  #closed: Promise<void> | undefined;
  #over = () => {};

  readonly agent: string;

  constructor(
    agent: string | undefined,
    readonly miner: string,
    private readonly options: Options = {},
  ) {
    super({ captureRejections: true });
    this.agent = agent || DEFAULT_AGENT;
  }

  /**
   * Returns at once; an agent that is not there yet is waited for, and the process lives until close(). Throws where nobody can
   * lead: the address is none, or this is not Linux.
   */
  start(): void {
    if (this.#started || this.#closed) throw new Error("this elector was started or closed before, and starts once: make another");
    if (this.#hasAgent && !supported) {
      throw new Error(
        `no miner leads on ${process.platform}, since grants end by Linux' CLOCK_BOOTTIME, which agent and miner share; ` +
          "for development use Always",
      );
    }
    if (this.#hasAgent) this.#client = dial(this.agent);
    this.#mayCampaign = this.#started = true;
    this.#vouching.start();
    if (this.#hasAgent) this.#tend();
    if (this.#hasAgent && this.options.extending) this.#ask();
  }

  /** Whether the miner may act now. It vouches for nothing, and may be asked as often as one likes. */
  isLeader(): boolean {
    return this.#held() !== undefined;
  }

  /** isLeader() with the token, for writes that are fenced. */
  grant(): Grant | undefined {
    return this.#held();
  }

  /** Who leads, and why this miner does or does not. */
  view(): View {
    const held = this.#held();
    return { ...this.#view, leads: held !== undefined, token: held?.token ?? 0n };
  }

  /**
   * Tells the agent that the work loop turns. The miner is a candidate only while something vouches for it: call this from a
   * loop that also turns while the miner stands by, several times a second. What is more than the agent wants is not sent, and
   * nothing is while a pulse is late.
   */
  beat(): void {
    if (this.#vouching.beat() - this.#sent >= this.#every) this.#heartbeat();
  }

  /**
   * Makes a standing pulse, which a standby beats too: until its first beat(), and whenever the last one is longer ago than
   * `limit` milliseconds, the miner is no candidate.
   */
  pulse(name: string, limit: number): Pulse {
    return this.#pulse(name, limit, 0n);
  }

  /**
   * Makes a pulse of the present term, which exists until that ends. It is stale until its first beat(), so beat it as soon as
   * the work has begun. A standby has none of these: something else must vouch for it.
   */
  termPulse(name: string, limit: number): Pulse {
    const exists = this.#announced > 0n && !this.#cleaning;
    return exists ? this.#pulse(name, limit, this.#announced) : new Pulse(name, limit, 0n, () => {}, () => {});
  }

  /** Runs a check of the miner's own as often as the agent wants to hear, and vouches for the work while it says yes. */
  beatWhile(check: () => boolean | Promise<boolean>): Pulse {
    const pulse = this.#pulse("check", undefined, 0n);
    const checks = async () => {
      if (pulse.stopped || this.#closed) return;
      try {
        if (await check()) pulse.beat();
      } catch (error) {
        this.#failed(error);
      }
      setTimeout(checks, this.#every).unref();
    };
    void checks();
    return pulse;
  }

  /** Adds a listener for the beginning of a term; while the miner leads it runs for that term too. Returns what removes it. */
  onElected(listener: Listener): () => void {
    this.#onElected.push(listener);
    if (this.options.catchUp !== false && this.#announced && !this.#cleaning) this.#begin(listener, this.#announced);
    return () => (this.#onElected = this.#onElected.filter((it) => it !== listener));
  }

  /** Adds a listener for the end of a term. The miner is no candidate until all of them, and their promises, have ended. */
  onLost(listener: Listener): () => void {
    this.#onLost.push(listener);
    return () => (this.#onLost = this.#onLost.filter((it) => it !== listener));
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
   * Comes first when the miner is asked to end: from here on it neither leads nor is a candidate. "lost" and
   * onLost() run; the stream stays, since the miner's cleanup may still act. done() says when it does not.
   */
  withdraw(): void {
    if (this.#withdrawn) return;
    this.#withdrawn = true;
    this.#announce();
    this.#send();
  }

  /**
   * Says that the caller has ended all that acted as leader: an acknowledgement of the last term, or of the present one, which
   * ends. It counts once the listeners of onLost() have ended too.
   */
  done(): void {
    for (const token of [this.#last.token, this.#announced]) if (token > this.#givenUp) this.#givenUp = token;
    this.#finished = true;
    this.#finish();
    this.#announce();
  }

  /**
   * Withdraws, and ends the campaign once the term was acknowledged or its last grant is over: then the lock goes to the next
   * miner. It resolves after that, at most --miner-timeout later. With `timeout` it rejects if that would take longer; the
   * campaign still ends when it would have.
   */
  close(timeout?: number): Promise<void> {
    this.#closed ??= new Promise((resolve) => (this.#over = resolve));
    this.withdraw();
    this.#announce();
    if (timeout === undefined) return this.#closed;
    let timer: NodeJS.Timeout;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the campaign has not ended within ${timeout} ms`)), timeout);
    });
    return Promise.race([this.#closed, late]).finally(() => clearTimeout(timer));
  }

  /** For Fake: there is no agent, and what stands in for it. */
  protected withoutAgent(): void {
    this.#hasAgent = false;
  }

  protected standIn(token: bigint | undefined, reason: string): void {
    const leads = token !== undefined;
    const name = leads ? this.miner : "";
    this.#said = { role: leads ? "leader" : "standby", reason, leader: name, instance: this.miner };
    if (leads && !this.#withdrawn) this.#last = new Grant(token, 0n, 0n, true);
    this.#leading = leads && !this.#withdrawn;
    this.#announce();
  }

  /** The agent's last grant is one to act on, as long as the clocks allow it. */
  #leads(): boolean {
    const { token } = this.#last;
    const mayLead = this.#leading && !this.#withdrawn && !this.#cleaning;
    return mayLead && token > this.#stopped && token > this.#givenUp && (!this.#announced || this.#announced === token);
  }

  #held(): Grant | undefined {
    return this.#leads() && this.#last.holds() ? this.#last : undefined;
  }

  #isGivenUp(): boolean {
    return this.#leading && (this.#last.token <= this.#stopped || this.#last.token <= this.#givenUp);
  }

  /** The miner lives and must not be elected: it leaves, cleans up, or has given up a term that the agent still holds. */
  #standsDown(): boolean {
    return this.#withdrawn || this.#cleaning || this.#isGivenUp() || (this.#announced > 0n && !this.#held());
  }

  #log(level: Level, text: string): void {
    const log: (level: Level, line: string) => unknown = this.options.log ?? ((level, line) => console[level](line));
    const failed = (error: unknown) => console.error("understudy: the log failed", error, text);
    try {
      void Promise.resolve(log(level, `${this.miner}: ${text}`)).catch(failed); // it may be async
    } catch (error) {
      failed(error);
    }
  }

  /** Derives the view from the state, and tells of what has changed. */
  #publish(): void {
    const held = this.#held();
    let { reason } = this.#said;
    let detail = this.#vouching.late.length ? `late: ${this.#vouching.late.join(", ")}` : "";
    if (this.#withdrawn) reason = "withdrawn";
    else if ((this.#cleaning && this.#leading) || reason === "not_candidate") reason = "cleaning_up";
    else if (this.#isGivenUp()) reason = "given_up";
    else if (held) reason = this.#said.reason;
    else if (this.#vouching.late.length) reason = "no_beats";
    else if (this.#vouching.unvouched) {
      [reason, detail] = ["no_beats", "nothing vouches for the work: call beat() from the loop that does it, or make a pulse"];
    } else if (this.#leading) reason = "grant_ended";
    else if (!reason) [reason, detail] = ["no_agent", this.#trouble];
    const last = this.#view;
    this.#view = { ...this.#said, leads: !!held, token: held?.token ?? 0n, reason, detail, late: this.#vouching.late };
    if (told(last) === told(this.#view)) return;
    const now = this.#view;
    this.#log(...line(now, last.leads));
    this.#guard(() => this.emit("change", now));
  }

  #heartbeat(): void {
    [this.#sent, this.#due] = [performance.now(), true];
    const may = this.#mayCampaign && this.#hasAgent && !this.options.extending && !this.#vouching.late.length && !this.#standsDown();
    if (may) this.#campaign();
    this.#send();
  }

  #pulse(name: string, limit: number | undefined, token: bigint): Pulse {
    const judge = () => {
      if (this.#started) this.#judge();
    };
    return this.#vouching.add(name, limit, token, judge, () => {
      this.#publish();
      judge();
    });
  }

  /** Sends heartbeats for the pulses, and tells when something holds them back. */
  #tend(): void {
    this.#tending = setTimeout(() => {
      this.#judge();
      if (!this.#ended) this.#tend();
    }, this.#every);
  }

  #judge(): void {
    if (this.#vouching.judge(this.#every, this.options.extending === true)) this.#publish();
    if (this.#vouching.late.length || this.#standsDown()) this.#send();
    else if (this.#vouching.hasPulses && performance.now() - this.#sent >= this.#every * 0.75) this.#heartbeat();
  }

  /** One campaign, until its stream ends. Only a heartbeat opens one. */
  #campaign(): void {
    if (!this.#client) return;
    this.#mayCampaign = false;
    const stream = this.#client.campaign();
    let why: ServiceError | undefined;
    let hangs = false;
    const patience = setTimeout(() => {
      hangs = true;
      stream.cancel();
    }, PATIENCE);
    [this.#stream, this.#revision] = [stream, 0];
    stream.on("data", (response: CampaignResponse) => {
      clearTimeout(patience);
      this.#retry = FIRST_RETRY;
      if (response.leadership && this.#stream === stream) this.#take(response.leadership, response.revision);
    });
    stream.on("error", (error: ServiceError) => (why = error));
    // However it ended, the stream is gone, and with it the grant.
    stream.once("status", (ended) => {
      clearTimeout(patience);
      this.#stream = undefined;
      [this.#last, this.#leading, this.#sent, this.#due] = [NO_GRANT, false, -Infinity, false];
      setTimeout(() => {
        this.#mayCampaign = true;
        if (this.#started && !this.#closed) this.#judge();
      }, this.#retry).unref();
      this.#retry = Math.min(2 * this.#retry, LAST_RETRY);
      if (hangs) this.#dropped(status.DEADLINE_EXCEEDED, "the agent does not answer", why);
      else this.#dropped(ended.code, ended.details, why);
    });
  }

  #dropped(code: status, details: string, why: Error | undefined): void {
    const own = code === status.CANCELLED; // the miner's own doing
    const last = this.#trouble;
    this.#said = { ...this.#said, role: "", reason: own ? "given_up" : "", leader: "" };
    this.#trouble = own ? "" : this.#explain(code, details);
    this.#announce();
    if (this.#trouble && this.#trouble !== last) this.#guard(() => this.emit("trouble", why ?? new Error(details)));
  }

  /** An error in the words of somebody who can mend it. */
  #explain(code: status, details: string): string {
    if (code !== status.FAILED_PRECONDITION) return `${this.agent}: ${details || "the agent ended the stream"}`;
    return this.options.extending
      ? `${this.agent} runs with --miner-liveness=campaign: make the elector without extending`
      : `${this.agent} runs with --miner-liveness=probe or always, where nobody campaigns: make the elector with extending`;
  }

  /** Asks for each grant until close(), for --miner-liveness=probe and always. */
  #ask(): void {
    if (this.#closed || !this.#client) return;
    // The agent's own probe vouches for the miner, and what else there is must be fresh.
    const extend = !this.#vouching.late.length && !this.#standsDown();
    this.#client.getLeadership({ extend }, new Metadata(), { deadline: Date.now() + LAST_RETRY }, (error, answer) => {
      if (answer?.leadership) this.#take(answer.leadership, 0);
      // What was granted holds until its deadline: no stream says more.
      else if (error && !this.#closed) this.#dropped(error.code, error.details, error);
      setTimeout(() => this.#ask(), this.#every).unref();
    });
  }

  /** What the agent says becomes what isLeader() compares with the clock. */
  #take(now: Leadership, revision: number): void {
    const word = (name: string, prefix: string) => name.replace(prefix, "").toLowerCase();
    const [role, reason] = [word(roleToJSON(now.role), "ROLE_"), word(reasonToJSON(now.reason), "REASON_")];
    this.#said = { role, reason, leader: now.leaderId, instance: now.instanceId };
    [this.#revision, this.#trouble] = [revision, ""];
    if (now.role === Role.ROLE_LEADER && this.#withdrawn) {
      // Nothing extends the grant that close() waits for.
    } else if (now.role === Role.ROLE_LEADER) {
      const last = now.fencingToken === this.#last.token ? this.#last : NO_GRANT;
      const later = (a: bigint, b: bigint) => (a > b ? a : b);
      const until = later(last.until, now.validUntilBoottimeNs);
      this.#last = new Grant(now.fencingToken, until, later(last.untilMonotonic, now.validUntilMonotonicNs));
      this.#leading = true;
    } else if (this.#leading) {
      [this.#leading, this.#endedBy] = [false, now.version];
      if (this.#acknowledged()) this.#send();
    }
    const { seconds, nanos } = now.heartbeatEvery ?? { seconds: 0n, nanos: 0 };
    const every = Number(seconds) * 1000 + nanos / 1e6;
    if (every > 0) this.#every = Math.min(every, LONGEST);
    this.#announce();
  }

  /** The version of which it is true that nothing begun before it still acts; 0: none is known. */
  #acknowledged(): bigint {
    const over = !this.#leading && this.#last.token > 0n && this.#last.token <= this.#stopped;
    return over ? this.#endedBy : 0n;
  }

  /** Sends what is to be sent now. A miner that stands down sends no heartbeat, and an acknowledgement all the same. */
  #send(): void {
    // An agent that does not read is not sent more: it will not hear this either.
    if (!this.#stream || this.#stream.writableNeedDrain) return;
    const acknowledgedVersion = this.#acknowledged();
    const request = { miner: this.miner, acknowledgedVersion, standingDown: false, late: "" };
    const understands = this.#revision >= UNDERSTANDS_MORE;
    if (this.#standsDown()) [this.#due, request.standingDown] = [false, understands];
    else if (this.#vouching.late.length) request.late = understands ? this.#vouching.late.join(", ") : "";
    else if (this.#due) {
      this.#due = false;
      this.#stream.write(request);
      return;
    }
    if (request.standingDown || request.late || acknowledgedVersion) this.#stream.write(request);
  }

  /** Calls the miner's listeners in the order of what happened, and waits for the end of a grant. */
  #announce(): void {
    clearTimeout(this.#timer);
    const grant = this.#held();
    if (this.#announced && !this.#cleaning && grant?.token !== this.#announced) return this.#lose();
    if (grant && !this.#announced) {
      this.#announced = grant.token;
      this.#publish();
      this.#begin(() => this.emit("elected"), grant.token);
      for (const listener of [...this.#onElected]) this.#begin(listener, grant.token);
      return this.#announce();
    }
    this.#publish();
    const over = this.#last.token <= this.#stopped || this.#last.endless || !this.#last.holds();
    if (this.#closed && (over || this.options.extending)) {
      clearTimeout(this.#tending);
      this.#stream?.cancel();
      this.#client?.close();
      this.#ended = true;
      this.#over();
    } else if (!over) {
      this.#timer = setTimeout(() => this.#announce(), this.#last.left());
    }
  }

  #begin(listener: Listener, token: bigint): void {
    void this.#guard(listener).then((ended) => {
      if (!ended) this.#giveUp(token);
    });
  }

  /** The announced term is over. */
  #lose(): void {
    this.#cleaning = true;
    this.#vouching.endTerm();
    this.#publish();
    const running = [() => this.emit("lost"), ...this.#onLost].map((listener) => this.#guard(listener));
    this.#send();
    const simple = this.#onLost.length === 0;
    const cleaned = () => {
      [this.#cleaning, this.#announced] = [false, 0n];
      this.#finish();
      this.#announce();
      if (this.#started && !this.#closed) this.#judge();
    };
    if (simple) cleaned();
    else void Promise.all(running).then(cleaned);
    if (!simple) this.#announce();
  }

  /** Once nothing of it acts any more, the last term is acknowledged. */
  #finish(): void {
    if (!this.#finished || this.#announced) return;
    this.#finished = false;
    this.acknowledge(this.#givenUp);
  }

  #failed(error: unknown): void {
    this.#log("error", `a listener failed: ${error instanceof Error ? error.stack : String(error)}`);
    if (this.options.fatalErrors) {
      setImmediate(() => {
        throw error;
      });
    }
  }

  /** What an async listener of an event rejected with. */
  [captureRejectionSymbol](error: unknown, event: unknown, ..._: unknown[]): void {
    this.#failed(error);
    if (event === "elected") this.#giveUp(this.#announced);
  }

  #giveUp(token: bigint): void {
    if (this.#announced !== token) return;
    if (token > this.#givenUp) this.#givenUp = token;
    this.#announce();
    this.#send();
  }

  /** Runs a listener of the miner's. False: it failed, and that was told. */
  #guard(listener: Listener): Promise<boolean> {
    const failed = (error: unknown) => {
      this.#failed(error);
      return false;
    };
    try {
      return Promise.resolve(listener()).then(() => true, failed);
    } catch (error) {
      return Promise.resolve(failed(error));
    }
  }
}
