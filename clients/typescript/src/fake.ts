/** Electors without an agent, for laptops and tests, on every system. */
import { Elector, type Options } from "./elector.js";

/** Leads when a test says so. */
export class Fake extends Elector {
  #token = 0n;

  constructor(miner = "fake", options: Options = {}) {
    super(undefined, miner, options);
    this.withoutAgent();
  }

  /** Begins a term, and returns its token. */
  elect(): bigint {
    this.#token += 1n;
    this.standIn(this.#token, "elected");
    return this.#token;
  }

  /** Ends it. */
  lose(reason = "lock_lost"): void {
    this.standIn(undefined, reason);
  }
}

/** Leads from start() until withdraw() or close(). */
export class Always extends Fake {
  override start(): void {
    super.start();
    this.elect();
  }
}
