/**
 * Canceling what is left over, or everything.
 *
 * @module
 */
import type { ActivityStore } from "../activity/store.ts";
import type { LiveTask } from "../activity/tasks.ts";
import type { ProducerQueue, Whereabouts } from "../broker/broker.ts";
import { sleep } from "../clock.ts";
import { noteProducer } from "../stores/broker_use.ts";
import { Brokers } from "./brokers.ts";
import { takeOut } from "./cancel_task.ts";
import type { Stores } from "../stores/stores.ts";

/**
 * Which tasks {@linkcode Client.cancelPending} cancels: those that nobody will ever run or finish, or everything
 * of the queue.
 *
 * @example
 * ```ts
 * import { type CancelScope, Client } from "@agentexec/core";
 *
 * async function clean(client: Client, scope: CancelScope) {
 *   const { canceled } = await client.cancelPending({ scope });
 *   console.log(`${canceled} tasks canceled`);
 * }
 * ```
 */
export type CancelScope = "abandoned" | "queue";

/**
 * What {@linkcode Client.cancelPending} came to.
 *
 * @example
 * ```ts
 * import { type CancelPendingReport, Client } from "@agentexec/core";
 *
 * async function clean(client: Client) {
 *   const report: CancelPendingReport = await client.cancelPending();
 *   console.log(`${report.canceled} canceled, ${report.otherBrokers} belong to other brokers`);
 * }
 * ```
 */
export interface CancelPendingReport {
  /** How many tasks were canceled. */
  readonly canceled: number;
  /**
   * How many tasks of the queue were left alone since another broker holds them, which somebody has used within the
   * last 5 minutes.
   */
  readonly otherBrokers: number;
}

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

/** Cancels tasks of one queue. */
export async function cancelPending(
  stores: Stores,
  options: { readonly queueName: string; readonly scope: CancelScope },
): Promise<CancelPendingReport> {
  const { queueName } = options;
  const [store, queue] = await Promise.all([stores.activity(), stores.queue(queueName)]);
  await stores.currentBrokerId(queueName);
  await noteProducer(stores, queueName);
  // Without an answer of the broker nothing can be told to be abandoned.
  const brokers = await Brokers.read({ store, queue });
  return options.scope === "queue"
    ? await cancelAll(store, queue, brokers)
    : await cancelAbandoned(store, queue, brokers);
}

async function cancelAll(
  store: ActivityStore,
  queue: ProducerQueue,
  brokers: Brokers,
): Promise<CancelPendingReport> {
  let canceled = 0;
  let otherBrokers = 0;
  for (let pass = 0; pass < PASSES; pass++) {
    let missed = 0;
    otherBrokers = 0;
    for await (const page of livePages(store, queue.name)) {
      const ids = (await withoutOthers(brokers, queue, page)).map((task) => task.agentId);
      otherBrokers += page.length - ids.length;
      const done = await store.cancelRows(ids, await queue.nextToken(), { from: "live" });
      await takeOutAll(queue, done);
      canceled += done.length;
      missed += ids.length - done.length;
    }
    if (missed === 0) break;
  }
  return { canceled, otherBrokers };
}

async function cancelAbandoned(
  store: ActivityStore,
  queue: ProducerQueue,
  brokers: Brokers,
): Promise<CancelPendingReport> {
  const suspects: LiveTask[] = [];
  let otherBrokers = 0;
  for await (const page of livePages(store, queue.name)) {
    const ours = await withoutOthers(brokers, queue, page);
    otherBrokers += page.length - ours.length;
    suspects.push(...await abandonedOf(queue, ours));
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
  return { canceled, otherBrokers };
}

/** Tasks without those that another broker in use holds. */
async function withoutOthers(
  brokers: Brokers,
  queue: ProducerQueue,
  tasks: readonly LiveTask[],
): Promise<readonly LiveTask[]> {
  const used = await brokers.othersInUse(tasks.flatMap(({ brokerId }) => brokerId ?? []));
  const inUse = tasks.filter(({ brokerId }) => used.has(brokerId ?? ""));
  if (inUse.length === 0) return tasks;
  // This broker has lost its data and has them again, from clients that know it by its former id.
  const places = await queue.whereabouts(inUse.map((task) => task.agentId));
  const others = new Set(inUse.filter((_, index) => places[index] === "unknown"));
  return tasks.filter((task) => !others.has(task));
}

async function abandonedOf(queue: ProducerQueue, tasks: readonly LiveTask[]): Promise<LiveTask[]> {
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

async function takeOutAll(queue: ProducerQueue, ids: readonly string[]): Promise<void> {
  for (let at = 0; at < ids.length; at += CALLS_AT_ONCE) {
    await Promise.all(ids.slice(at, at + CALLS_AT_ONCE).map((id) => takeOut(queue, id)));
  }
}
