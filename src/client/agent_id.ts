/**
 * Ids of tasks that are made from what the tasks are about.
 *
 * @module
 */
import { v5 } from "uuid";
import { checkOptions } from "../options.ts";
import { kindOf } from "../show.ts";
import { checkAgentId } from "./enqueue_options.ts";

/** The namespace of keys, made at random for this library. It never changes: ids would. */
const NAMESPACE = "9f303dc5-47bb-4507-b395-e0357ba6fbdc";

/**
 * The options of {@linkcode agentIdFrom}.
 *
 * @example
 * ```ts
 * import { agentIdFrom, type AgentIdOptions } from "@agentexec/core";
 *
 * // The same keys of two tenants are two ids.
 * const tenant: AgentIdOptions = { namespace: agentIdFrom("tenant:o-1") };
 * console.log(agentIdFrom("invoice:2026-11", tenant));
 * ```
 */
export interface AgentIdOptions {
  /**
   * A UUID within which the key is unique.
   *
   * @default {the library's own, so that a key gives the same id in every program}
   */
  readonly namespace?: string | undefined;
}

/**
 * The id that belongs to a key, for tasks that are to be accepted once however often they are enqueued: a UUID of
 * version 5, the same for the same key in every process. Put into the key what makes the task the same, its name
 * among it: an id is one task's, and with another context it is a conflict.
 *
 * @param key The key.
 * @param options A namespace of your own.
 * @returns The id, for `enqueue(…, { agentId })`, `handle`, `cancel` and `activity.detail`.
 * @throws {TypeError} If the key is no text, is empty, or the namespace is no UUID.
 *
 * @example
 * ```ts
 * import { agentIdFrom, Client } from "@agentexec/core";
 *
 * await using client = new Client();
 * const agentId = agentIdFrom("send_invoice:2026-11:customer-42");
 * // A request that is sent again, or a job that runs twice, enqueues one task.
 * await client.enqueue("send_invoice", { month: "2026-11", customer: 42 }, { agentId });
 * ```
 */
export function agentIdFrom(key: string, options: AgentIdOptions = {}): string {
  if (typeof key !== "string" || key === "") {
    throw new TypeError(
      `Cannot make an id: the key must be a text that is not empty, current value is ${
        key === "" ? "empty" : kindOf(key)
      }`,
    );
  }
  if (!key.isWellFormed()) {
    throw new TypeError("Cannot make an id: the key holds half a surrogate pair");
  }
  checkOptions("make an id", options, ["namespace"]);
  const { namespace } = options;
  const within = namespace === undefined ? NAMESPACE : checkAgentId(namespace, "namespace");
  return v5(key, within);
}
