/**
 * The lines about a store that goes away and comes back: one each, whatever fails meanwhile.
 *
 * @module
 */
import type { ContactListener } from "../contact.ts";
import type { LineLogger } from "./loggers.ts";

/** Logs when the store of an address goes away, and when it is back. */
export function contactLog(address: string, logger: () => LineLogger): ContactListener {
  return {
    lost: (error) => logger().warn(`${error.message}; trying again until it answers`),
    back: (awayMs) => logger().info(`Connected again to ${address} after ${seconds(awayMs)}`),
  };
}

function seconds(ms: number): string {
  return ms < 9_950 ? `${(ms / 1_000).toFixed(1)} s` : `${Math.round(ms / 1_000)} s`;
}
