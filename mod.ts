/**
 * A worker pool for AI-agent work: tasks run in worker processes that may only do what they were granted, wait in
 * Redis, and leave a full record in Postgres or SQLite. Without the two addresses a program runs on two SQLite files.
 *
 * Declare a task where producers and workers can both import it, give a pool its handler, run the pool, and
 * enqueue from anywhere:
 *
 * @example One whole program
 * ```ts
 * import { Client, defineTask, Pool } from "@agentexec/core";
 * import { z } from "zod";
 *
 * const research = defineTask("research_company", {
 *   context: z.object({ company: z.string() }),
 *   result: z.object({ summary: z.string() }),
 * });
 *
 * const pool = new Pool({
 *   name: "docs",
 *   brokerUrl: "redis://localhost:6379",
 *   databaseUrl: "postgres://localhost/agents",
 *   permissions: { net: ["api.openai.com"], env: ["OPENAI_API_KEY"] },
 * });
 *
 * pool.task(research, async ({ context, activity, signal }) => {
 *   await activity.update(`Reading about ${context.company}`, { percentage: 10 });
 *   const page = await fetch("https://api.openai.com/v1/models", { signal });
 *   return { summary: `${context.company}: ${page.status}` };
 * });
 *
 * async function worker() {
 *   await pool.migrate(); // once, or with each release
 *   await pool.run(); // starts the workers, blocks until SIGTERM or Ctrl+C
 * }
 *
 * async function producer() {
 *   await using client = new Client({
 *     brokerUrl: "redis://localhost:6379",
 *     databaseUrl: "postgres://localhost/agents",
 *   });
 *   const task = await client.enqueue(research, { company: "Acme" });
 *   const { summary } = await task.result({ timeout: { minutes: 10 } });
 *   console.log(summary);
 * }
 * ```
 *
 * @module
 */
export {
  type ActivityDetail,
  type ActivityDetailOptions,
  type ActivityFailure,
  type ActivityFilter,
  type ActivityItem,
  type ActivityKind,
  type ActivityListOptions,
  type ActivityLogEntry,
  type ActivityMetrics,
  type ActivityMetricsOptions,
  type ActivityOrder,
  type ActivityPage,
  type ActivityStatus,
  type ActivityTimes,
  type MetadataFilter,
  type TaskMetrics,
} from "./src/activity/activity.ts";
export {
  type ActivityDatabase,
  type ActivityLogTable,
  type ActivityTable,
  type StoredTime,
} from "./src/activity/schema.ts";
export { type Depth, type QueueDiagnostics } from "./src/broker/broker.ts";
export { type ActivityApi, type NewRecord } from "./src/client/activity_api.ts";
export { agentIdFrom, type AgentIdOptions } from "./src/client/agent_id.ts";
export { type CancelOutcome } from "./src/lifecycle/cancel_task.ts";
export { type CancelPendingReport, type CancelScope } from "./src/lifecycle/cancel_pending.ts";
export { type CancelPendingOptions, Client, type ClientDatabase } from "./src/client/client.ts";
export { type ClientOptions } from "./src/client/client_options.ts";
export { type EnqueueManyOptions, type EnqueueOptions } from "./src/client/enqueue_options.ts";
export { gather, type GatheredResults } from "./src/client/gather.ts";
export {
  type TaskEndStatus,
  type TaskHandle,
  type TaskHandleOptions,
  type TaskProgress,
  type TaskProgressOptions,
  type TaskWaitOptions,
} from "./src/client/handle.ts";
export { type TaskResult } from "./src/client/results.ts";
export { type Duration } from "./src/clock.ts";
export { CONF, type Configuration } from "./src/config.ts";
export {
  ActivityOwnedError,
  AgentexecError,
  ConfigError,
  ConnectionError,
  EnqueueError,
  EnqueueManyError,
  EnqueueUncertainError,
  IncompatibleError,
  MigrationError,
  ResultExpiredError,
  ResultTimeoutError,
  StartError,
  TaskCanceledError,
  TaskConflictError,
  TaskError,
  TaskFailedError,
  TransactionConflictError,
  ValidationError,
} from "./src/errors.ts";
export { type PoolOptions } from "./src/pool/options.ts";
export { Pool, type ShutdownOptions, type StartOptions } from "./src/pool/pool.ts";
export { type ShutdownReport } from "./src/pool/service.ts";
export { type WorkerInfo, type WorkerState } from "./src/pool/worker_slot.ts";
export { type Role } from "./src/program/role.ts";
export {
  type ContextSchema,
  type Database,
  type ProgressOptions,
  type TaskActivity,
  type TaskLog,
  type TaskRun,
} from "./src/task/context.ts";
export { currentTask } from "./src/task/current.ts";
export {
  defineTask,
  type FittingHandler,
  type InputOf,
  type Interrupted,
  type NoSchema,
  type NotJson,
  type OutputOf,
  type ResultOf,
  type ReturnOf,
  type Task,
  type TaskDefinition,
  type TaskHandler,
  type TaskOptions,
} from "./src/task/definition.ts";
