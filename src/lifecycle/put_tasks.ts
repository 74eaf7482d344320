/**
 * Putting in: a task's row first, then the broker. Every way in which that can break off ends in one of five
 * outcomes, so that the caller always knows what it knows.
 *
 * @module
 */
import { isTerminal } from "../activity/activity.ts";
import type { NewTaskRow } from "../activity/rows.ts";
import type { ActivityStore } from "../activity/store.ts";
import type { NewTask, ProducerQueue } from "../broker/broker.ts";
import { sleep } from "../clock.ts";
import { ConnectionError } from "../errors.ts";
import { noteProducer } from "../stores/broker_use.ts";
import type { Stores } from "../stores/stores.ts";
import { type TakeOver, takeOver } from "./take_over.ts";
import type { TaskStores } from "./task_stores.ts";
import { countersOf } from "../task/counters.ts";

/** When a task is due; empty for at once. */
export interface Due {
  /** Milliseconds from now. */
  readonly delayMs?: number;
  /** A time. */
  readonly runAt?: Date;
}

/** An id, and whether the caller brought it: others may then know it too. */
export interface TaskId {
  /** The id, a UUID in lower case. */
  readonly agentId: string;
  /** Whether the caller brought it. */
  readonly given: boolean;
}

/** A task that passed every check and is ready to go in. */
export interface PreparedTask extends TaskId {
  /** Its name. */
  readonly taskName: string;
  /** Its context's JSON; empty where it takes none. */
  readonly payload: string;
  /** Its metadata's JSON. */
  readonly metadata: string;
  /** When it is due. */
  readonly due: Due;
  /** The task below whose handler it is enqueued. */
  readonly parentId: string | undefined;
}

/** What became of one task. */
export type PutOutcome =
  /** It will run, runs, or has run. */
  | { readonly kind: "accepted" }
  /** Its id is another's. */
  | { readonly kind: "conflict"; readonly taskName: string; readonly queue?: string }
  /** It is such a task, of the same queue of another broker, which is in use. */
  | { readonly kind: "elsewhere"; readonly address: string }
  /** It will not run. */
  | { readonly kind: "refused"; readonly cause: unknown }
  /** Another transaction has its row in hand, and decides by its end. */
  | { readonly kind: "held"; readonly cause: ConnectionError }
  /** Nobody knows; the same id enqueued again is accepted once. */
  | { readonly kind: "uncertain"; readonly cause: unknown };

/** Where tasks go in. */
export interface PutTarget extends TaskStores<ProducerQueue> {
  /** The broker's id, for the rows. */
  readonly brokerId: string;
  /** The time in milliseconds of the Unix epoch, for what is shown. */
  readonly now: () => number;
}

/** Opens what is needed to put tasks into a queue. */
export async function openPutTarget(stores: Stores, queueName: string): Promise<PutTarget> {
  const [queue, brokerId, store] = await Promise.all([
    stores.queue(queueName),
    stores.brokerId(queueName),
    stores.activity(),
  ]);
  await noteProducer(stores, queueName);
  return { queue, brokerId, store, now: () => stores.now() };
}

/** Puts tasks in, in one statement and one script; the outcomes stand in the order of the tasks. */
export async function putTasks(
  target: PutTarget,
  tasks: readonly PreparedTask[],
): Promise<readonly PutOutcome[]> {
  const rows = tasks.map((task) => rowOf(target, task));
  let inserts;
  try {
    inserts = await insertRows(target, rows);
  } catch (error) {
    return await afterFailedInsert(target.store, tasks, error);
  }
  const outcomes: PutOutcome[] = tasks.map(() => ({ kind: "accepted" }));
  const pushes: Push[] = [];
  for (const [index, task] of tasks.entries()) {
    const insert = inserts[index];
    if (insert === undefined) continue;
    if (insert.kind === "conflict" || insert.kind === "elsewhere") outcomes[index] = insert;
    else if (insert.kind === "locked") outcomes[index] = { kind: "held", cause: inHand(task) };
    else if (insert.kind === "inserted") pushes.push({ index, task, fresh: true, moved: false });
    else if (insert.status === "queued") {
      // Enqueued before, and whether it got as far as the broker is for the broker to say. An id that nobody
      // else has was inserted by this very call, in an attempt whose answer was lost.
      pushes.push({ index, task, fresh: !task.given, moved: insert.token !== "0" });
    }
  }
  const pushed = await pushTasks(target, pushes);
  for (const [at, { index }] of pushes.entries()) outcomes[index] = pushed[at] ?? ACCEPTED;
  return outcomes;
}

/** Makes the rows; those that name another broker that is gone become this one's. */
async function insertRows(
  target: PutTarget,
  rows: readonly NewTaskRow[],
): Promise<readonly TakeOver[]> {
  const inserts = await target.store.insertTasks(rows);
  const found = rows.flatMap((row, index) => {
    const insert = inserts[index];
    return insert?.kind === "elsewhere" ? [{ row, brokerId: insert.brokerId }] : [];
  });
  if (found.length === 0) return inserts as readonly TakeOver[];
  const taken = await takeOver(found, target);
  const byId = new Map(found.map(({ row }, index) => [row.agentId, taken[index]]));
  return inserts.map((insert, index) => byId.get(rows[index]?.agentId ?? "") ?? insert as TakeOver);
}

function inHand({ agentId }: PreparedTask): ConnectionError {
  return new ConnectionError(
    `Another transaction that has not ended has the row of ${agentId} in hand`,
    { retryable: true },
  );
}

const ACCEPTED: PutOutcome = { kind: "accepted" };

/** One task on its way into the broker. */
interface Push {
  /** Where it stands among the tasks. */
  readonly index: number;
  readonly task: PreparedTask;
  /** Whether this very call made its row or opened it again: then it may be refused again. */
  readonly fresh: boolean;
  /** Whether it had been claimed before: its counters then go with it. */
  readonly moved: boolean;
}

function rowOf({ queue, brokerId, now }: PutTarget, task: PreparedTask): NewTaskRow {
  const { delayMs, runAt } = task.due;
  // The row only shows when it is due; what counts is the broker's clock.
  const due = delayMs === undefined ? runAt : new Date(now() + delayMs);
  return {
    agentId: task.agentId,
    taskName: task.taskName,
    queue: queue.name,
    brokerId,
    context: task.payload === "" ? null : task.payload,
    metadata: task.metadata,
    ...(due === undefined ? {} : { runAt: due }),
    ...(task.parentId === undefined ? {} : { parentId: task.parentId }),
  };
}

/** The connection may have broken after the rows were there: they must not wait for ever. */
async function afterFailedInsert(
  store: ActivityStore,
  tasks: readonly PreparedTask[],
  cause: unknown,
): Promise<readonly PutOutcome[]> {
  if (!(cause instanceof ConnectionError)) return tasks.map(() => ({ kind: "refused", cause }));
  // A row of an id that the caller brought may be that of an earlier call that was accepted.
  const own = tasks.filter((task) => !task.given).map((task) => task.agentId);
  let refused = false;
  if (own.length > 0) {
    try {
      await store.refuse(own);
      refused = true;
    } catch {
      // The error before says why; what this one adds is that nobody knows.
    }
  }
  return tasks.map((task) => ({
    kind: refused && !task.given ? "refused" : "uncertain",
    cause,
  }));
}

async function pushTasks(
  target: PutTarget,
  pushes: readonly Push[],
): Promise<readonly PutOutcome[]> {
  if (pushes.length === 0) return [];
  const { queue, store } = target;
  let answers;
  try {
    const tasks = await Promise.all(pushes.map((each) => newTask(store, each)));
    answers = await queue.enqueue(tasks);
  } catch (error) {
    return await afterFailedPush(store, pushes, error);
  }
  const outcomes: PutOutcome[] = [];
  for (const [at, each] of pushes.entries()) {
    outcomes.push(
      each.fresh && answers[at] === "known" ? await settleKnown(target, each) : ACCEPTED,
    );
  }
  return outcomes;
}

async function newTask(store: ActivityStore, { task, moved }: Push): Promise<NewTask> {
  const { delayMs, runAt } = task.due;
  const row = moved ? await store.readRow(task.agentId) : undefined;
  return {
    id: task.agentId,
    name: task.taskName,
    payload: task.payload,
    ...(delayMs === undefined ? {} : { delayMs }),
    ...(runAt === undefined ? {} : { runAtMs: runAt.getTime() }),
    ...(row === undefined ? {} : { counters: countersOf(row) }),
  };
}

async function afterFailedPush(
  store: ActivityStore,
  pushes: readonly Push[],
  cause: unknown,
): Promise<readonly PutOutcome[]> {
  let changed: ReadonlySet<string> | undefined;
  try {
    const fresh = pushes.filter((each) => each.fresh).map((each) => each.task.agentId);
    changed = new Set(fresh.length === 0 ? [] : await store.refuse(fresh));
  } catch {
    // The error before says why; what this one adds is that nobody knows.
  }
  return pushes.map(({ task, fresh }) => {
    if (changed === undefined || !fresh) return { kind: "uncertain", cause };
    // A row that could not be refused has been claimed: the push had arrived, only its answer was lost.
    return changed.has(task.agentId) ? { kind: "refused", cause } : ACCEPTED;
  });
}

const SETTLE_TRIES = 20;
const SETTLE_PAUSE_MS = 100;

/**
 * A row opened again, and the broker still has the copy of the first time: a worker may have claimed that
 * one while the row said "not accepted", and be about to drop it. Waits until it is clear that it runs,
 * and puts it in again where it was dropped.
 */
async function settleKnown({ queue, store }: PutTarget, each: Push): Promise<PutOutcome> {
  const id = each.task.agentId;
  try {
    for (let attempt = 0; attempt < SETTLE_TRIES; attempt++) {
      const [where] = await queue.whereabouts([id]);
      if (where === "waiting" || where === "delayed") return ACCEPTED;
      if (where === "unknown") {
        const [answer] = await queue.enqueue([await newTask(store, each)]);
        if (answer === "accepted") return ACCEPTED;
      }
      const row = await store.readRow(id);
      if (row === undefined || isTerminal(row.status) || row.status === "running") {
        return ACCEPTED;
      }
      await sleep(SETTLE_PAUSE_MS);
    }
    // A worker that is this slow finds the row open when it comes to it.
    return ACCEPTED;
  } catch (cause) {
    return { kind: "uncertain", cause };
  }
}
