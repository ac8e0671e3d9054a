/** The right to act, and the clocks that end it. */
import { openSync, readSync } from "node:fs";

/** Grants end by clocks that agent and miner share: Linux' alone. */
export const supported = process.platform === "linux";
let uptime: number | undefined;

/**
 * CLOCK_BOOTTIME in nanoseconds, at most 10 ms later than it is: Node cannot read it, and /proc/uptime has hundredths of
 * a second. Elsewhere it is later than every grant.
 */
export function bootTime(): bigint {
  if (!supported) return 2n ** 64n - 1n;
  uptime ??= openSync("/proc/uptime", "r");
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
    /** Of Always and Fake: no clock ends it. */
    readonly endless = false,
  ) {}

  /** Whether both clocks are still below its end. Ask before every effect. */
  holds(): boolean {
    return this.endless || (process.hrtime.bigint() < this.untilMonotonic && bootTime() < this.until);
  }

  /** Milliseconds until its end, rounded up; an hour at most. */
  left(): number {
    if (this.endless) return 3_600_000;
    const left = this.untilMonotonic - process.hrtime.bigint();
    return left > 0n ? Math.min(Number(left / 1_000_000n) + 1, 3_600_000) : 0;
  }
}

export const NO_GRANT = new Grant(0n, 0n, 0n);
