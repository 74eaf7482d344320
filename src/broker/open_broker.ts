/**
 * Which broker an address means.
 *
 * @module
 */
import type { BrokerAddress } from "../addresses.ts";
import type { Contact } from "../contact.ts";
import type { Broker } from "./broker.ts";
import { RedisBroker } from "./redis/redis_broker.ts";
import { SqliteBroker } from "./sqlite/sqlite_broker.ts";

/** What {@linkcode openBroker} may be told. */
export interface OpenBrokerOptions {
  /**
   * What the server shall call the connections.
   *
   * @default {undefined} (no name)
   */
  readonly clientName?: string;
  /**
   * Told whether the broker can be reached; one in a file always can.
   *
   * @default {undefined} (nobody is told)
   */
  readonly contact?: Contact | undefined;
}

/** The broker of an address, not connected yet. */
export function openBroker(address: BrokerAddress, options: OpenBrokerOptions = {}): Broker {
  return address.kind === "sqlite"
    ? new SqliteBroker(address.path)
    : new RedisBroker(address, options);
}
