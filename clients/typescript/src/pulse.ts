/**
 * Vouches for one thing that must go on. While pulses exist the elector sends the heartbeats itself, as long as all of them are
 * fresh. One is stale until its first beat().
 */
export class Pulse {
  #beaten: number | undefined;
  #stopped = false;
  late = true;
  readonly name: string;

  constructor(
    name: string,
    private readonly limit: number | undefined,
    /** Of the term for whose length it exists; 0: it is a standing one. */
    readonly token: bigint,
    private readonly wake: () => void,
    private readonly forget: (pulse: Pulse) => void,
  ) {
    // Without a limit above 0 no beat is ever fresh enough: where it is told as late, it says why.
    this.name = limit === undefined || limit > 0 ? name : `${name} (its limit is ${limit})`;
  }

  /** Says that it goes on. */
  beat(): void {
    this.#beaten = performance.now();
    if (this.late && !this.#stopped) this.wake();
  }

  /** Ends the pulse: it need not be fresh any more, and vouches for nothing. */
  stop(): void {
    this.#stopped = true;
    this.forget(this);
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Whether it was beaten within its limit, or within two heartbeats if it has none. */
  fresh(now: number, every: number): boolean {
    return this.#beaten !== undefined && now - this.#beaten <= (this.limit ?? 2 * every);
  }
}
