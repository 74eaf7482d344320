/**
 * Watching a task: messages make it quick, reading its row makes it right. A message may be lost, so the
 * row is read after each subscription, after each reconnect, and every few seconds.
 *
 * @module
 */
import { type ActivityStatus, isTerminal, type MetadataFilter } from "../activity/activity.ts";
import type { TaskRow } from "../activity/rows.ts";
import type { Unsubscribe } from "../broker/broker.ts";
import { aborted, monotonicMs, settlesWithin, sleep } from "../clock.ts";
import { AgentexecError, ConnectionError, ResultExpiredError } from "../errors.ts";
import type { Stores } from "../stores/stores.ts";

/** Which task, as far as the caller knows it. */
export interface TaskRef {
  /** Its id. */
  readonly agentId: string;
  /** Its name. */
  readonly taskName: string;
  /** The queue it is thought to wait in; its row knows better. */
  readonly queueName: string;
  /** What its metadata must have; of another one it is as if there was no record. */
  readonly metadata?: MetadataFilter | undefined;
}

/** News of a task: its row, or a message of its worker. */
export type TaskUpdate =
  | { readonly kind: "row"; readonly row: TaskRow }
  | { readonly kind: "progress"; readonly progress: Progress };

/** What a worker publishes while it runs a task. */
export interface Progress {
  /** The status. */
  readonly status: ActivityStatus;
  /** How far it is, 0 to 100. */
  readonly percentage: number | null;
  /** What it says. */
  readonly message: string | null;
}

/** How to watch. */
export interface WatchTaskOptions {
  /** Ends the watch. */
  readonly signal: AbortSignal;
  /** Whether to listen to progress too. */
  readonly progress: boolean;
}

/** How often the row is read where no message comes. */
const READ_EVERY_MS = 5_000;
/** How often where nothing can be heard, since the broker is away. */
const READ_EVERY_DEAF_MS = 1_000;
/** How long stores that answered before may stay away before the watch gives up. */
const PATIENCE_MS = 60_000;
/** Messages kept for a reader that is slower than its task; the oldest go first. */
const BACKLOG = 256;

/**
 * The task's row.
 *
 * @throws {ResultExpiredError} If there is none.
 * @throws {AgentexecError} If the id is that of something else.
 */
export async function readTask(stores: Stores, ref: TaskRef): Promise<TaskRow> {
  const { agentId, taskName } = ref;
  const row = await (await stores.activity()).readRow(agentId, ref);
  if (row === undefined) {
    throw new ResultExpiredError(
      `Cannot tell what became of task '${taskName}' (${agentId}): there is no record of it`,
      { agentId },
    );
  }
  if (row.kind !== "task" || row.taskName !== taskName) {
    throw new AgentexecError(
      `Cannot use ${agentId} as a task '${taskName}': it is a ${row.kind} '${row.taskName}'`,
    );
  }
  return row;
}

/** What is seen of the task, until it has ended or the signal aborts. */
export async function* watchTask(
  stores: Stores,
  ref: TaskRef,
  options: WatchTaskOptions,
): AsyncGenerator<TaskUpdate, void, undefined> {
  const { signal } = options;
  const reader = new PatientReader(stores, ref);
  // Its queue, and perhaps that it is over already: then there is nothing to listen to.
  const first = await reader.read();
  if (first === undefined) return;
  yield { kind: "row", row: first };
  if (isTerminal(first.status)) return;
  const feed = new TaskFeed(stores, { ...ref, queueName: first.queue ?? ref.queueName }, options);
  try {
    while (!signal.aborted) {
      await feed.listen();
      feed.readNow();
      const row = await reader.read();
      if (signal.aborted) return;
      if (row !== undefined) {
        yield { kind: "row", row };
        if (isTerminal(row.status)) return;
      }
      let readAt = monotonicMs() + feed.readEveryMs;
      while (!feed.mustRead() && monotonicMs() < readAt) {
        await feed.wait(readAt - monotonicMs());
        if (signal.aborted) return;
        for (const progress of feed.take()) {
          yield { kind: "progress", progress };
          // The row keeps one message in 250 ms: right after a message it would show an older one.
          readAt = monotonicMs() + feed.readEveryMs;
        }
      }
    }
  } finally {
    await feed.close();
  }
}

/** Reads the row, and bears with a database that answered before and is away now. */
class PatientReader {
  readonly #stores: Stores;
  readonly #ref: TaskRef;
  readonly #session: AbortSignal;
  #lastGood: number | undefined;

  constructor(stores: Stores, ref: TaskRef) {
    this.#stores = stores;
    this.#ref = ref;
    this.#session = stores.session;
  }

  /** The row; undefined where the database is away for the moment. */
  async read(): Promise<TaskRow | undefined> {
    refuseEnded(this.#session, this.#ref);
    try {
      const row = await readTask(this.#stores, this.#ref);
      this.#lastGood = monotonicMs();
      return row;
    } catch (error) {
      refuseEnded(this.#session, this.#ref);
      const patient = this.#lastGood !== undefined &&
        monotonicMs() - this.#lastGood < PATIENCE_MS;
      if (patient && error instanceof ConnectionError && error.retryable) return undefined;
      throw error;
    }
  }
}

function refuseEnded(session: AbortSignal, { agentId, taskName }: TaskRef): void {
  if (!session.aborted) return;
  throw new AgentexecError(
    `Cannot watch task '${taskName}' (${agentId}) any longer: the client was closed`,
  );
}

/** What the workers publish about one task, and when to read its row in spite of it. */
class TaskFeed {
  readonly #stores: Stores;
  readonly #ref: TaskRef;
  readonly #options: WatchTaskOptions;
  readonly #session: AbortSignal;
  readonly #over = new AbortController();
  readonly #ring = () => {
    this.#over.abort();
    this.#wake();
  };
  /** The attempt to subscribe that is under way. */
  #listening: Promise<void> | undefined;
  /** What it was refused with. */
  #refused: unknown;
  #closed = false;
  #subscriptions: Unsubscribe[] = [];
  #backlog: Progress[] = [];
  #mustRead = false;
  #rung = false;
  #sleeping: AbortController | undefined;

  constructor(stores: Stores, ref: TaskRef, options: WatchTaskOptions) {
    this.#stores = stores;
    this.#ref = ref;
    this.#options = options;
    this.#session = stores.session;
    for (const signal of [options.signal, this.#session]) {
      signal.addEventListener("abort", this.#ring);
    }
  }

  /** How long the row may go unread. */
  get readEveryMs(): number {
    return this.#subscriptions.length > 0 ? READ_EVERY_MS : READ_EVERY_DEAF_MS;
  }

  /**
   * Subscribes where that is not done yet. A broker that is away makes it deaf, not broken, and one that does not answer
   * holds up neither the next look at the row nor the end of the watch.
   */
  async listen(): Promise<void> {
    if (this.#subscriptions.length > 0) return;
    if (this.#listening === undefined) {
      this.#listening = this.#subscribe();
      await settlesWithin(
        Promise.race([this.#listening, aborted(this.#over.signal)]),
        READ_EVERY_DEAF_MS,
      );
    }
    if (this.#refused !== undefined) throw this.#refused;
  }

  /** Never rejects. */
  async #subscribe(): Promise<void> {
    try {
      const made = await this.#subscriptionsMade();
      if (this.#closed) return await unsubscribeAll(made);
      if (made.length === 0) return;
      this.#subscriptions = made;
      // What was said before nobody heard.
      this.#read();
    } catch (error) {
      this.#refused = error;
    } finally {
      this.#listening = undefined;
    }
  }

  /** None where the broker is away. */
  async #subscriptionsMade(): Promise<Unsubscribe[]> {
    const { agentId: id, queueName } = this.#ref;
    const onReconnect = () => this.#read();
    const made: Unsubscribe[] = [];
    try {
      const queue = await this.#stores.queue(queueName);
      if (this.#options.progress) {
        made.push(
          await queue.subscribe({ kind: "progress", id }, {
            onMessage: (message) => this.#hear(message),
            onReconnect,
          }),
        );
      }
      const onMessage = () => this.#read();
      made.push(await queue.subscribe({ kind: "ended", id }, { onMessage, onReconnect }));
      return made;
    } catch (error) {
      await unsubscribeAll(made);
      refuseEnded(this.#session, this.#ref);
      if (!(error instanceof ConnectionError) || !error.retryable) throw error;
      return [];
    }
  }

  /** The row is about to be read, which covers all that was heard until now. */
  readNow(): void {
    this.#mustRead = false;
  }

  /** Whether something was heard that only the row can explain; asked once, it is answered once. */
  mustRead(): boolean {
    const must = this.#mustRead || this.#session.aborted;
    this.#mustRead = false;
    return must;
  }

  /** The progress heard since it was last asked for. */
  take(): readonly Progress[] {
    const heard = this.#backlog;
    this.#backlog = [];
    return heard;
  }

  /** Waits until something is heard, the watch is ended, or the time is up. */
  async wait(ms: number): Promise<void> {
    if (!this.#rung) {
      this.#sleeping = new AbortController();
      await sleep(ms, { signal: this.#sleeping.signal });
    }
    this.#rung = false;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const signal of [this.#options.signal, this.#session]) {
      signal.removeEventListener("abort", this.#ring);
    }
    await unsubscribeAll(this.#subscriptions);
    this.#subscriptions = [];
  }

  #hear(message: string): void {
    const progress = parseProgress(message);
    if (progress === undefined) return;
    if (this.#backlog.push(progress) > BACKLOG) this.#backlog.shift();
    this.#wake();
  }

  #read(): void {
    this.#mustRead = true;
    this.#wake();
  }

  #wake(): void {
    this.#rung = true;
    this.#sleeping?.abort();
  }
}

async function unsubscribeAll(subscriptions: readonly Unsubscribe[]): Promise<void> {
  // A subscription of a broken connection is gone with it.
  await Promise.allSettled(subscriptions.map((unsubscribe) => unsubscribe()));
}

/** What a worker published; undefined for what is no progress, such as that of a later version. */
function parseProgress(message: string): Progress | undefined {
  let value: unknown;
  try {
    value = JSON.parse(message);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || !("status" in value)) return undefined;
  if (typeof value.status !== "string") return undefined;
  const percentage = "percentage" in value ? value.percentage : null;
  const text = "message" in value ? value.message : null;
  return {
    status: value.status as ActivityStatus,
    percentage: typeof percentage === "number" ? percentage : null,
    message: typeof text === "string" ? text : null,
  };
}
