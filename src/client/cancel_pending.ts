/**
 * Canceling what is left over, or everything.
 *
 * @module
 */
import type { ActivityStatus } from "../activity/activity.ts";
import type { ActivityStore } from "../activity/store.ts";
import type { Queue, Whereabouts } from "../broker/broker.ts";
import { sleep } from "../clock.ts";
import { takeOut } from "./cancel.ts";
import type { Stores } from "./stores.ts";

/**
 * Which tasks {@linkcode cancelPending} cancels: those that nobody will ever run or finish, or everything
 * of the queue.
 *
 * @example
 * ```ts
 * import { type CancelScope, Client } from "@agentexec/core";
 *
 * async function clean(client: Client, scope: CancelScope) {
 *   console.log(`${await client.cancelPending({ scope })} tasks canceled`);
 * }
 * ```
 */
export type CancelScope = "abandoned" | "queue";

const PAGE = 500;
/** A younger row may belong to a task that is being enqueued. */
const ABANDONED_AFTER_MS = 30_000;
/**
 * How long a living supervisor may take to renew a lease, or a living worker to claim again what the broker
 * lost: right after an outage of the broker all leases have run out, and nobody is dead.
 */
const SIGN_OF_LIFE_MS = 2_500;
/** Tasks that change their state while they are canceled are met again in the next pass. */
const PASSES = 5;
const CALLS_AT_ONCE = 50;

/** Cancels tasks of one queue; answers how many. */
export async function cancelPending(
  stores: Stores,
  options: { readonly queueName: string; readonly scope: CancelScope },
): Promise<number> {
  const [store, queue] = await Promise.all([stores.activity(), stores.queue(options.queueName)]);
  return options.scope === "queue"
    ? await cancelAll(store, queue)
    : await cancelAbandoned(store, queue);
}

async function cancelAll(store: ActivityStore, queue: Queue): Promise<number> {
  let canceled = 0;
  for (let pass = 0; pass < PASSES; pass++) {
    let missed = 0;
    for await (const page of livePages(store, queue.name)) {
      const ids = page.map((task) => task.agentId);
      const done = await store.cancelRows(ids, await queue.nextToken(), { from: "live" });
      await takeOutAll(queue, done);
      canceled += done.length;
      missed += ids.length - done.length;
    }
    if (missed === 0) break;
  }
  return canceled;
}

async function cancelAbandoned(store: ActivityStore, queue: Queue): Promise<number> {
  const suspects: LiveTask[] = [];
  for await (const page of livePages(store, queue.name)) {
    suspects.push(...await abandonedOf(queue, page));
  }
  if (suspects.some((task) => task.status === "running")) await sleep(SIGN_OF_LIFE_MS);
  let canceled = 0;
  for (let at = 0; at < suspects.length; at += PAGE) {
    // Taken before the look: whatever happens to a task after it has a newer token, and its row then stands.
    const token = await queue.nextToken();
    const found = await abandonedOf(queue, suspects.slice(at, at + PAGE));
    for (const [status, from] of [["queued", "queued"], ["running", "live"]] as const) {
      const ids = found.filter((task) => task.status === status).map((task) => task.agentId);
      if (ids.length === 0) continue;
      const done = await store.cancelRows(ids, token, { from });
      await takeOutAll(queue, done);
      canceled += done.length;
    }
  }
  return canceled;
}

interface LiveTask {
  readonly agentId: string;
  readonly status: ActivityStatus;
  readonly queuedAgeMs: number;
}

async function abandonedOf(queue: Queue, tasks: readonly LiveTask[]): Promise<LiveTask[]> {
  const places = await queue.whereabouts(tasks.map((task) => task.agentId));
  return tasks.filter((task, index) => isAbandoned(task, places[index]));
}

function isAbandoned(task: LiveTask, place: Whereabouts | undefined): boolean {
  if (task.status === "running") return place === "abandoned" || place === "unknown";
  return place === "unknown" && task.queuedAgeMs > ABANDONED_AFTER_MS;
}

async function* livePages(
  store: ActivityStore,
  queue: string,
): AsyncGenerator<readonly LiveTask[], void, undefined> {
  let after: string | undefined;
  for (;;) {
    const page = await store.liveTasks({
      queue,
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    if (page.length > 0) yield page;
    if (page.length < PAGE) return;
    after = page.at(-1)?.agentId;
  }
}

async function takeOutAll(queue: Queue, ids: readonly string[]): Promise<void> {
  for (let at = 0; at < ids.length; at += CALLS_AT_ONCE) {
    await Promise.all(ids.slice(at, at + CALLS_AT_ONCE).map((id) => takeOut(queue, id)));
  }
}
