/**
 * What the tests of the Redis broker stand on: brokers that are closed at the end, before the server is.
 *
 * @module
 */
import type { Queue } from "../../src/broker/broker.ts";
import { RedisBroker, type RedisBrokerOptions } from "../../src/broker/redis/redis_broker.ts";
import { parseBrokerUrl, type RedisAddress } from "../../src/addresses.ts";

/** A broker for a URL, not connected. */
export function brokerOf(url: string, options: RedisBrokerOptions = {}): RedisBroker {
  return new RedisBroker(
    parseBrokerUrl({ value: url, source: "the test" }) as RedisAddress,
    options,
  );
}

/** A queue of a connection of its own, which ends with it. */
export interface OpenQueue extends AsyncDisposable {
  /** The broker. */
  readonly broker: RedisBroker;
  /** Its queue `jobs`. */
  readonly queue: Queue;
}

/** Connects to a server and opens its queue `jobs`. */
export async function openQueue(
  url: string,
  options: RedisBrokerOptions = {},
): Promise<OpenQueue> {
  const broker = brokerOf(url, options);
  const opened = {
    broker,
    queue: broker.queue("jobs"),
    [Symbol.asyncDispose]: () => broker.close(),
  };
  try {
    await broker.connect();
    await opened.queue.open();
    return opened;
  } catch (error) {
    await broker.close();
    throw error;
  }
}

/** The same URL at another port of 127.0.0.1. */
export function atPort(url: string, port: number): string {
  const other = new URL(url);
  other.port = String(port);
  return other.href;
}
