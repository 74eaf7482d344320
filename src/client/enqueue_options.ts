/**
 * The options of an enqueue, and their check.
 *
 * @module
 */
import { v7 } from "uuid";
import { type Duration, toMilliseconds } from "../clock.ts";
import type { Due, TaskId } from "../lifecycle/put_tasks.ts";
import { checkOptions } from "../options.ts";
import { kindOf } from "../show.ts";
import { isAgentId } from "../task/agent_id.ts";
import { checkDate } from "../task/dates.ts";

/**
 * Options of one task that is enqueued.
 *
 * @example
 * ```ts
 * import { Client, type EnqueueOptions } from "@agentexec/core";
 *
 * await using client = new Client();
 * const options: EnqueueOptions = { metadata: { org: "o-1" }, delay: { minutes: 5 } };
 * await client.enqueue("research_company", { company: "Acme" }, options);
 * ```
 */
export interface EnqueueOptions {
  /**
   * The task's id, a UUID. Enqueueing again with the same id, task and context is accepted once.
   *
   * @default {a new UUID, version 7}
   */
  readonly agentId?: string | undefined;
  /**
   * What to attach: a plain object of JSON values. Handlers see it, and activities can be filtered by its
   * members.
   *
   * @default {{}}
   */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  /**
   * How long to wait before it may start, on the broker's clock, at most 36,500 days. Excludes `runAt`.
   *
   * @default {undefined} (at once)
   */
  readonly delay?: Duration | undefined;
  /**
   * When it may start, at most 36,500 days from now. Excludes `delay`.
   *
   * @default {undefined} (at once)
   */
  readonly runAt?: Date | undefined;
}

/**
 * Options of tasks that are enqueued together; they hold for each.
 *
 * @example
 * ```ts
 * import { Client, defineTask, type EnqueueManyOptions } from "@agentexec/core";
 * import { z } from "zod";
 *
 * const research = defineTask("research_company", { context: z.object({ company: z.string() }) });
 * await using client = new Client();
 * const options: EnqueueManyOptions = { metadata: { org: "o-1" } };
 * await client.enqueueMany(research, [{ company: "Acme" }, { company: "Umbrella" }], options);
 * ```
 */
export interface EnqueueManyOptions {
  /**
   * The tasks' ids, one UUID for each context, no two the same.
   *
   * @default {new UUIDs, version 7}
   */
  readonly agentIds?: readonly string[] | undefined;
  /**
   * What to attach: a plain object of JSON values. Handlers see it, and activities can be filtered by its
   * members.
   *
   * @default {{}}
   */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  /**
   * How long to wait before it may start, on the broker's clock, at most 36,500 days. Excludes `runAt`.
   *
   * @default {undefined} (at once)
   */
  readonly delay?: Duration | undefined;
  /**
   * When it may start, at most 36,500 days from now. Excludes `delay`.
   *
   * @default {undefined} (at once)
   */
  readonly runAt?: Date | undefined;
}

/**
 * An id in lower case, as the stores keep it.
 *
 * @throws {TypeError} If it is no UUID.
 */
export function checkAgentId(agentId: string, name = "agentId"): string {
  if (isAgentId(agentId)) return agentId.toLowerCase();
  const given: unknown = agentId;
  const shown = typeof given === "string"
    ? JSON.stringify(given.length > 60 ? `${given.slice(0, 60)}…` : given)
    : kindOf(given);
  throw new TypeError(`Cannot use '${name}': it must be a UUID, current value is ${shown}`);
}

/** The id of one task. */
export function idOf(options: EnqueueOptions): TaskId {
  checkOptions("enqueue", options, ["agentId", "metadata", "delay", "runAt"]);
  return options.agentId === undefined
    ? { agentId: v7(), given: false }
    : { agentId: checkAgentId(options.agentId), given: true };
}

/** The ids of `count` tasks. */
export function idsOf(count: number, options: EnqueueManyOptions): TaskId[] {
  checkOptions("enqueue", options, ["agentIds", "metadata", "delay", "runAt"]);
  const { agentIds } = options;
  if (agentIds === undefined) {
    return Array.from({ length: count }, () => ({ agentId: v7(), given: false }));
  }
  if (!Array.isArray(agentIds) || agentIds.length !== count) {
    throw new RangeError(
      `Cannot use 'agentIds': it must hold one id for each of the ${count} contexts, current value is ${
        Array.isArray(agentIds) ? `${agentIds.length} ids` : kindOf(agentIds)
      }`,
    );
  }
  const ids = agentIds.map((each, index) => checkAgentId(each, `agentIds[${index}]`));
  const seen = new Set<string>();
  const twice = ids.findIndex((id) => seen.size === seen.add(id).size);
  if (twice >= 0) {
    throw new RangeError(
      `Cannot use 'agentIds': each id may stand once, agentIds[${twice}] is ${ids[twice]} again`,
    );
  }
  return ids.map((agentId) => ({ agentId, given: true }));
}

/** When it is due; `nowMs` is the time in milliseconds of the Unix epoch. */
export function dueOf(
  { delay, runAt }: Pick<EnqueueOptions, "delay" | "runAt">,
  nowMs: number,
): Due {
  if (delay !== undefined && runAt !== undefined) {
    throw new TypeError("Cannot use 'delay' and 'runAt' together: give one of them");
  }
  if (delay !== undefined) {
    const delayMs = Math.ceil(toMilliseconds(delay, "delay"));
    if (!Number.isSafeInteger(delayMs) || delayMs > LONGEST_DELAY_MS) {
      throw new RangeError(
        `Cannot use 'delay': it must be at most 36500 days, current value is ${delayMs} ms`,
      );
    }
    return delayMs === 0 ? {} : { delayMs };
  }
  if (runAt === undefined) return {};
  const time = checkDate(runAt, "runAt");
  if (Math.abs(time.getTime() - nowMs) > LONGEST_DELAY_MS) {
    throw new RangeError(
      `Cannot use 'runAt': it must be within 36500 days of now, current value is ${time.toISOString()}`,
    );
  }
  return { runAt: time };
}

/** A hundred years: what is later is a mistake in the unit. */
const LONGEST_DELAY_MS = 36_500 * 86_400_000;
