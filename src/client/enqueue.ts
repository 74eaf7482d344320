/**
 * Enqueueing: checks everything first, puts the tasks in, and says what became of them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import {
  ConnectionError,
  EnqueueError,
  EnqueueManyError,
  EnqueueUncertainError,
  TaskConflictError,
} from "../errors.ts";
import { kindOf } from "../show.ts";
import { type CodecLimits, encodeContext, encodeMetadata, encodeUnchecked } from "../task/codec.ts";
import {
  openPutTarget,
  type PreparedTask,
  type PutOutcome,
  type PutTarget,
  putTasks,
} from "../lifecycle/put_tasks.ts";
import { currentTaskOrUndefined } from "../task/current.ts";
import type { TaskDefinition } from "../task/definition.ts";
import { describeError } from "../task/describe_error.ts";
import {
  dueOf,
  type EnqueueManyOptions,
  type EnqueueOptions,
  idOf,
  idsOf,
} from "./enqueue_options.ts";
import { type TaskHandle, taskHandle } from "./handle.ts";
import type { Stores } from "../stores/stores.ts";
import { warnOfUnserved } from "./unserved.ts";

/** Which task, and where it goes. */
export interface EnqueueTarget {
  /** Its name. */
  readonly taskName: string;
  /** Its queue. */
  readonly queueName: string;
  /** Its definition; undefined where only the name is known. */
  readonly definition: TaskDefinition | undefined;
  /** How large contexts and metadata may be. */
  readonly limits: CodecLimits;
}

/** Puts one task in. */
export async function enqueueOne(
  stores: Stores,
  request: EnqueueTarget & { readonly context: unknown; readonly options: EnqueueOptions },
): Promise<TaskHandle> {
  const { context, options, limits } = request;
  const task: PreparedTask = {
    ...idOf(options),
    taskName: request.taskName,
    metadata: encodeMetadata(options.metadata, limits),
    due: dueOf(options, stores.now()),
    parentId: currentTaskOrUndefined()?.agentId,
    payload: await encode(request, context),
  };
  let target: PutTarget;
  try {
    target = await openPutTarget(stores, request.queueName);
  } catch (cause) {
    // Nothing was sent, so nothing of it is anywhere.
    if (cause instanceof ConnectionError) {
      throw errorOf(task, request.queueName, { kind: "refused", cause });
    }
    throw cause;
  }
  const [outcome] = await putTasks(target, [task]);
  const error = outcome === undefined ? undefined : errorOf(task, request.queueName, outcome);
  if (error !== undefined) throw error;
  await warnOfUnserved(stores, target.queue);
  return handleOf(stores, request, task.agentId);
}

/** The most tasks, and bytes of their contexts, that go in by one statement. */
const CHUNK_TASKS = 1_000;
const CHUNK_BYTES = 8 * 1024 * 1024;

/** Puts many tasks in. */
export async function enqueueMany<Result>(
  stores: Stores,
  request: EnqueueTarget & {
    readonly contexts: readonly unknown[];
    readonly options: EnqueueManyOptions;
  },
): Promise<readonly TaskHandle<Result>[]> {
  const tasks = await prepareMany(request, stores.now());
  const accepted: string[] = [];
  const refused: string[] = [];
  const errors: Error[] = [];
  // Where one chunk failed for its connection, the next would wait in vain as well.
  let broken = false;
  try {
    const target = tasks.length === 0 ? undefined : await openPutTarget(stores, request.queueName);
    for (const chunk of chunksOf(tasks)) {
      if (target === undefined || broken) {
        refused.push(...chunk.map((task) => task.agentId));
        continue;
      }
      for (const [index, outcome] of (await putTasks(target, chunk)).entries()) {
        const task = chunk[index];
        if (task === undefined) continue;
        const error = errorOf(task, request.queueName, outcome);
        (error === undefined ? accepted : refused).push(task.agentId);
        if (error !== undefined) errors.push(error);
        broken ||= outcome.kind === "refused" || outcome.kind === "uncertain";
      }
    }
    if (target !== undefined && accepted.length > 0) {
      await warnOfUnserved(stores, target.queue);
    }
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    errors.push(error);
    refused.push(...tasks.map((task) => task.agentId));
  }
  const [first] = errors;
  if (first !== undefined) {
    throw new EnqueueManyError(
      `Cannot enqueue ${refused.length} of ${tasks.length} tasks '${request.taskName}': ${first.message}`,
      { cause: first, accepted, refused },
    );
  }
  return tasks.map((task) => handleOf<Result>(stores, request, task.agentId));
}

async function prepareMany(
  request: EnqueueTarget & {
    readonly contexts: readonly unknown[];
    readonly options: EnqueueManyOptions;
  },
  nowMs: number,
): Promise<readonly PreparedTask[]> {
  const { contexts, options, taskName, limits } = request;
  if (!Array.isArray(contexts)) {
    throw new TypeError(
      `Cannot enqueue tasks '${taskName}': the contexts must be an array, current value is ${
        kindOf(contexts)
      }`,
    );
  }
  const ids = idsOf(contexts.length, options);
  const shared = {
    taskName,
    metadata: encodeMetadata(options.metadata, limits),
    due: dueOf(options, nowMs),
    parentId: currentTaskOrUndefined()?.agentId,
  };
  const tasks: PreparedTask[] = [];
  for (const [index, id] of ids.entries()) {
    tasks.push({ ...shared, ...id, payload: await encode(request, contexts[index], index) });
  }
  return tasks;
}

async function encode(
  { definition, taskName, limits }: EnqueueTarget,
  context: unknown,
  index?: number,
): Promise<string> {
  const where = index === undefined ? {} : { what: `contexts[${index}]` };
  return definition === undefined
    ? encodeUnchecked(taskName, context, { ...limits, ...where })
    : await encodeContext(definition, context, { ...limits, ...where });
}

function* chunksOf(tasks: readonly PreparedTask[]): Generator<readonly PreparedTask[]> {
  let chunk: PreparedTask[] = [];
  let bytes = 0;
  for (const task of tasks) {
    const size = Buffer.byteLength(task.payload) + Buffer.byteLength(task.metadata);
    if (chunk.length > 0 && (chunk.length === CHUNK_TASKS || bytes + size > CHUNK_BYTES)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(task);
    bytes += size;
  }
  if (chunk.length > 0) yield chunk;
}

/** What to throw for an outcome; undefined where the task was accepted. */
function errorOf(
  { agentId, taskName }: PreparedTask,
  queueName: string,
  outcome: PutOutcome,
): Error | undefined {
  switch (outcome.kind) {
    case "accepted":
      return undefined;
    case "conflict":
      return new TaskConflictError(
        `Cannot enqueue task '${taskName}' as ${agentId}: the id is ${
          conflictOf(outcome, { taskName, queueName })
        }`,
        { agentId },
      );
    case "elsewhere":
      return new TaskConflictError(
        `Cannot enqueue task '${taskName}' as ${agentId}: the id is that of such a task in queue '${queueName}' of ` +
          `another broker that is in use, ${outcome.address}`,
        { agentId },
      );
    case "refused":
      return new EnqueueError(
        `Cannot enqueue task '${taskName}': it was not accepted, ${
          describeError(outcome.cause).headline
        }`,
        { agentId, cause: outcome.cause },
      );
    case "held":
    case "uncertain":
      return new EnqueueUncertainError(
        `Cannot tell whether task '${taskName}' was accepted, ${
          describeError(outcome.cause).headline
        }: enqueue it again with { agentId: "${agentId}" }, it is then accepted once`,
        { agentId, cause: outcome.cause },
      );
    default:
      return outcome satisfies never;
  }
}

function conflictOf(
  other: Extract<PutOutcome, { readonly kind: "conflict" }>,
  { taskName, queueName }: { readonly taskName: string; readonly queueName: string },
): string {
  if (other.taskName !== taskName) return `that of '${other.taskName}'`;
  return other.queue === undefined
    ? "that of such a task with another context"
    : `that of such a task in queue '${other.queue}', and this one is for queue '${queueName}'`;
}

function handleOf<Result>(
  stores: Stores,
  { taskName, queueName, definition }: EnqueueTarget,
  agentId: string,
): TaskHandle<Result> {
  return taskHandle(stores, { agentId, taskName, queueName }, definition);
}
