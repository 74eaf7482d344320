/**
 * Activities as a program reads them, and the records that it writes itself.
 *
 * @module
 */
import {
  type ActivityDetail,
  type ActivityDetailOptions,
  type ActivityFilter,
  type ActivityListOptions,
  type ActivityMetrics,
  type ActivityMetricsOptions,
  type ActivityPage,
  FILTER_OPTIONS,
  LIST_OPTIONS,
} from "../activity/activity.ts";
import type { ActivityStore } from "../activity/store.ts";
import { checkName } from "../config.ts";
import { checkOptions } from "../options.ts";
import { beforeActing } from "../program/role.ts";
import { kindOf, show } from "../show.ts";
import { type CodecLimits, encodeMetadata } from "../task/codec.ts";
import { PROGRESS_OPTIONS, type ProgressOptions } from "../task/context.ts";
import { checkDate } from "../task/dates.ts";
import { checkAgentId } from "./enqueue_options.ts";
import type { Stores } from "../stores/stores.ts";

/**
 * A record of the program's own: anything that is not a task of the library and shall be seen beside them.
 *
 * @example
 * ```ts
 * import { Client, type NewRecord } from "@agentexec/core";
 *
 * const nightly: NewRecord = { taskName: "nightly_import", metadata: { org: "o-1" } };
 * await using client = new Client();
 * await client.activity.create(nightly);
 * ```
 */
export interface NewRecord {
  /** What it is of: 1 to 128 letters, digits, `_`, `.` or `-`. */
  readonly taskName: string;
  /**
   * Its id, a UUID. Creating again with the same id and name is accepted once.
   *
   * @default {a new UUID, version 7}
   */
  readonly agentId?: string | undefined;
  /**
   * Its first message.
   *
   * @default {AGENTEXEC_ACTIVITY_MESSAGE_CREATE, else "Waiting to start"}
   */
  readonly message?: string | undefined;
  /**
   * What to attach: a plain object of JSON values.
   *
   * @default {{}}
   */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Activities: what became of tasks, and records of the program's own. `update`, `complete` and `error` work
 * on records; a task's activity is written by the worker that runs it alone.
 *
 * @example Show what runs
 * ```ts
 * import { Client } from "@agentexec/core";
 *
 * await using client = new Client();
 * const { items } = await client.activity.list({ status: ["queued", "running"], limit: 20 });
 * for (const { taskName, status, message } of items) console.log(taskName, status, message);
 * ```
 *
 * @example Keep a record of something else
 * ```ts
 * import { Client } from "@agentexec/core";
 *
 * await using client = new Client();
 * const id = await client.activity.create({ taskName: "nightly_import" });
 * await client.activity.update(id, "Halfway", { percentage: 50 });
 * await client.activity.complete(id, "Imported 1,204 rows");
 * ```
 */
export interface ActivityApi {
  /**
   * Makes a record.
   *
   * @returns Its id.
   * @throws {ValidationError} If its metadata is no plain JSON object or holds what cannot be stored.
   * @throws {TaskConflictError} If the id that it brings is that of a task, or of a record of another name.
   */
  create(record: NewRecord): Promise<string>;
  /**
   * Says how far a record is. Here and elsewhere a message of more than 1,024 bytes of UTF-8 is cut there, at a
   * character, and ends with "…".
   *
   * @throws {ActivityOwnedError} If the id is a task's.
   */
  update(id: string, message: string, options?: ProgressOptions): Promise<void>;
  /**
   * Ends a record well, at 100 % unless `percentage` says otherwise.
   *
   * @throws {ActivityOwnedError} If the id is a task's.
   */
  complete(id: string, message?: string, options?: ProgressOptions): Promise<void>;
  /**
   * Ends a record badly.
   *
   * @throws {ActivityOwnedError} If the id is a task's.
   */
  error(id: string, message: string, options?: ProgressOptions): Promise<void>;
  /** A page of activities, newest first or active first, without contexts, results and logs. */
  list(options?: ActivityListOptions): Promise<ActivityPage>;
  /**
   * One activity with its context, result and log; null if there is none of this id, or its metadata is not as
   * `options` ask.
   */
  detail(id: string, options?: ActivityDetailOptions): Promise<ActivityDetail | null>;
  /**
   * How many activities there are, up to 10,000: more are counted as 10,000, so that a page asks for it at no cost.
   * Exact totals are a query on {@linkcode Client.db}.
   */
  count(filter?: ActivityFilter): Promise<number>;
  /** How many tasks and records are queued or running, up to 10,000. */
  countActive(filter?: Omit<ActivityFilter, "status">): Promise<number>;
  /**
   * How many tasks are in which status, and their times: of those that were created or ended since one hour ago, or
   * since `since`.
   *
   * @throws {TypeError} If `since` is no valid Date.
   */
  metrics(options?: ActivityMetricsOptions): Promise<ActivityMetrics>;
}

/** The activities of one client's stores. */
export function activityApi(stores: Stores, limits: CodecLimits): ActivityApi {
  async function store(): Promise<ActivityStore> {
    await beforeActing();
    return await stores.activity();
  }
  return {
    async create(record) {
      checkOptions("create an activity", record, ["taskName", "agentId", "message", "metadata"]);
      const { taskName, agentId, message, metadata } = record;
      checkName(taskName, "record");
      if (message !== undefined) checkMessage(message);
      const json = encodeMetadata(metadata, limits);
      return await (await store()).createRecord({
        taskName,
        metadata: json,
        ...(agentId === undefined ? {} : { agentId: checkAgentId(agentId) }),
        ...(message === undefined ? {} : { message }),
      });
    },
    async update(id, message, options = {}) {
      checkMessage(message);
      checkProgress("update an activity", options);
      await (await store()).updateRecord(checkAgentId(id, "id"), { message, ...options });
    },
    async complete(id, message, options = {}) {
      if (message !== undefined) checkMessage(message);
      checkProgress("complete an activity", options);
      await (await store()).completeRecord(checkAgentId(id, "id"), message, options);
    },
    async error(id, message, options = {}) {
      checkMessage(message);
      checkProgress("end an activity in an error", options);
      await (await store()).failRecord(checkAgentId(id, "id"), message, options);
    },
    async list(options = {}) {
      checkOptions("list activities", options, LIST_OPTIONS);
      return await (await store()).list(options);
    },
    async detail(id, options = {}) {
      checkOptions("read an activity", options, ["metadata"]);
      return await (await store()).detail(checkAgentId(id, "id"), options) ?? null;
    },
    async count(filter = {}) {
      checkOptions("count activities", filter, FILTER_OPTIONS);
      return await (await store()).count(filter);
    },
    async countActive(filter = {}) {
      const allowed = FILTER_OPTIONS.filter((name) => name !== "status");
      checkOptions("count active activities", filter, allowed);
      return await (await store()).countActive(filter);
    },
    async metrics(options = {}) {
      checkOptions("read metrics", options, ["since"]);
      if (options.since !== undefined) checkDate(options.since, "since");
      return await (await store()).metrics(options);
    },
  };
}

function checkMessage(message: string): void {
  if (typeof message === "string") return;
  throw new TypeError(
    `Cannot use 'message': it must be a string, current value is ${kindOf(message)}`,
  );
}

function checkProgress(doing: string, options: ProgressOptions): void {
  checkOptions(doing, options, PROGRESS_OPTIONS);
  const { percentage } = options;
  if (percentage === undefined) return;
  if (typeof percentage === "number" && percentage >= 0 && percentage <= 100) return;
  throw new RangeError(
    `Cannot use 'percentage': it must be a number from 0 to 100, current value is ${
      show(percentage)
    }`,
  );
}
