/** Where the agent is, and how it is called. */
import { credentials } from "@grpc/grpc-js";
import { ElectionServiceClient } from "./gen/understudy/v1/election.js";

/** Where it listens unless it is told otherwise. */
export const DEFAULT_AGENT = "127.0.0.1:50051";
export const FIRST_RETRY = 50;
export const LAST_RETRY = 1000;

const CHANNEL = {
  // The agent is on this machine: no proxy, no idle limit worth the name, and quick retries.
  "grpc.enable_http_proxy": 0,
  "grpc.client_idle_timeout_ms": 2 ** 31 - 1,
  "grpc.initial_reconnect_backoff_ms": FIRST_RETRY,
  "grpc.max_reconnect_backoff_ms": LAST_RETRY,
  // One channel, one connection: not shared with others of this process.
  "grpc.use_local_subchannel_pool": 1,
};

/** A client that connects when it is used. Throws where the address is none. */
export function dial(agent: string): ElectionServiceClient {
  return new ElectionServiceClient(target(agent), credentials.createInsecure(), CHANNEL);
}

/** The address as gRPC has it. */
function target(agent: string): string {
  if (/^unix:\/*[^/\n]/.test(agent)) return agent;
  const [, address, port] = /^(?:http:\/\/)?((?:[^\s:@/]+|\[[0-9a-fA-F:.]+\]):(\d{1,5}))$/.exec(agent) ?? [];
  if (address && Number(port) > 0 && Number(port) < 65536) return address;
  throw new Error(`the agent's address is malformed: expected 127.0.0.1:50051 or unix:/path, not ${JSON.stringify(agent)}`);
}
