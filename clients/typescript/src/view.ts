/** What the elector knows, for those who want to read it. */

/** What the elector knows at one moment. */
export interface View {
  /** The miner may act now. */
  leads: boolean;
  /** Of the term, while it leads. */
  token: bigint;
  /** The agent's: leader, standby, idle; empty when it is not known. */
  role: string;
  /**
   * Why the miner leads or does not: a word of the agent's, such as held_by_other, or one of the elector's own: no_agent,
   * no_beats, cleaning_up, grant_ended, given_up, withdrawn.
   */
  reason: string;
  /** More of that, for a reader: an error, or the pulses that are late. */
  detail: string;
  /** The holder of the lock as last seen. */
  leader: string;
  /** This agent's own name there. */
  instance: string;
  /** The pulses that keep the heartbeats back. */
  late: readonly string[];
}

export type Level = "info" | "warn" | "error";

const PLANNED = ["withdrawn", "given_up", "cleaning_up", "resigned", "draining"];
const ALARMING = ["no_agent", "no_beats", "eviction_policy", "miner_silent"];

/** The log line that tells of it, after a view in which the miner `led`. */
export function line(now: View, led: boolean): [Level, string] {
  if (now.leads && now.detail) return ["warn", `this miner leads, and sends no heartbeat: ${now.detail}`];
  if (now.leads) return ["info", "this miner leads"];
  const words = [now.reason, now.detail, now.leader && `${now.leader} leads`].filter((word) => word);
  const alarms = ALARMING.includes(now.reason) || now.reason.startsWith("redis_") || (led && !PLANNED.includes(now.reason));
  return [alarms ? "warn" : "info", `no leadership: ${words.join(", ")}`];
}

/** What of a view is worth a line. */
export function told(view: View): string {
  return [view.token, view.reason, view.detail, view.leader].join("\n");
}
