/**
 * Redis without the broker, for tests that look at its keys or spoil them.
 *
 * @module
 */
import { createClient } from "@redis/client";

/** What Redis answers. */
export type RawReply = string | number | null | RawReply[];

/** A plain connection. */
export interface RawRedis extends AsyncDisposable {
  /** Sends one command. */
  send(...args: string[]): Promise<RawReply>;
}

/** Opens a plain connection. */
export async function rawRedis(url: string): Promise<RawRedis> {
  // Without a strategy it would try for ever, and a test would hang instead of fail.
  const socket = { reconnectStrategy: false as const };
  const client = createClient({ url, socket, RESP: 2, disableClientInfo: true });
  client.on("error", () => {}); // Each call tells its own error.
  await client.connect();
  return {
    send: (...args) => client.sendCommand(args) as Promise<RawReply>,
    [Symbol.asyncDispose]() {
      client.destroy();
      return Promise.resolve();
    },
  };
}

/** The answer as a list of strings. */
export function strings(reply: RawReply): string[] {
  if (!Array.isArray(reply)) throw new TypeError(`Cannot read as a list: ${JSON.stringify(reply)}`);
  return reply.map(String);
}

/** The fields of a hash. */
export async function fields(redis: RawRedis, key: string): Promise<Record<string, string>> {
  const flat = strings(await redis.send("HGETALL", key));
  const pairs: [string, string][] = [];
  for (let at = 0; at < flat.length; at += 2) pairs.push([flat[at] ?? "", flat[at + 1] ?? ""]);
  return Object.fromEntries(pairs);
}

/** All keys of a queue. */
export async function keysOf(redis: RawRedis, queue: string): Promise<string[]> {
  const keys: string[] = [];
  let cursor = "0";
  do {
    const reply = await redis.send("SCAN", cursor, "MATCH", `*${queue}*`, "COUNT", "1000");
    if (!Array.isArray(reply)) throw new TypeError("SCAN answers no list");
    cursor = String(reply[0]);
    keys.push(...strings(reply[1] ?? []));
  } while (cursor !== "0");
  return keys.filter((key) => key === queue || key.startsWith(`{${queue}}:`));
}
