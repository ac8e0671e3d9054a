/** What vouches for the miner's work: its loop and its pulses. */
import { Pulse } from "./pulse.js";

/** --miner-timeout unless it is set: so long may nothing vouch for the work before that is told. */
const QUIET_AT_FIRST = 3000;

export class Vouching {
  /** The names of what is late. */
  late: readonly string[] = [];
  /** Nothing vouches for the work, and has not for long. */
  unvouched = false;
  #beaten = 0; // when beat() was last called
  #pulses: Pulse[] = [];
  #quietSince = 0;

  start(): void {
    this.#quietSince = performance.now();
  }

  /** The loop turns. Returns when that was. */
  beat(): number {
    this.#beaten = performance.now();
    return this.#beaten;
  }

  get hasPulses(): boolean {
    return this.#pulses.length > 0;
  }

  /** Calls `wake` when one that was late beats, `forgotten` when one has stopped. */
  add(name: string, limit: number | undefined, token: bigint, wake: () => void, forgotten: () => void): Pulse {
    const pulse = new Pulse(name, limit, token, wake, () => {
      this.#pulses = this.#pulses.filter((it) => it !== pulse);
      this.late = this.late.filter((late) => this.#pulses.some((it) => it.name === late));
      forgotten();
    });
    this.#pulses.push(pulse);
    return pulse;
  }

  /** A term is over, and its pulses with it. */
  endTerm(): void {
    for (const pulse of this.#pulses.filter((it) => it.token)) pulse.stop();
  }

  /** Finds what is late. Tells whether that is news. */
  judge(every: number, mayBeQuiet: boolean): boolean {
    const now = performance.now();
    for (const pulse of this.#pulses) pulse.late = !pulse.fresh(now, every);
    const late = this.#pulses.filter((pulse) => pulse.late).map((pulse) => pulse.name);
    // Who beats by hand too, goes on doing so.
    if (this.hasPulses && this.#beaten && now - this.#beaten > 3 * every) late.push("the loop that calls beat");
    if (this.hasPulses || this.#beaten) this.#quietSince = now;
    const unvouched = now - this.#quietSince > QUIET_AT_FIRST && !mayBeQuiet;
    const isNews = late.join("\n") !== this.late.join("\n") || unvouched !== this.unvouched;
    [this.late, this.unvouched] = [late, unvouched];
    return isNews;
  }
}
