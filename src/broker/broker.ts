/**
 * The seam between the library and what holds its queues. One contract suite (`tests/contract/`) states
 * what every implementation promises. Not exported from the package: it may change with any version.
 *
 * Every wait has a deadline, every failure to reach the broker is a `ConnectionError`, and all time is
 * the broker's own. The numbers that both brokers keep to are in `protocol.ts`.
 *
 * Where the two differ:
 * - SQLite serves the processes of one machine, from a file on a disk of its own; its time is that machine's clock.
 * - A full Redis takes no new tasks and does everything else. On a full disk SQLite reads, but need not be able to write
 *   anything, an end or a release neither: such a call leaves all as it was and may be tried again.
 * - Redis can hold an id without its task: see {@linkcode ClaimAnswer.orphans}. SQLite cannot.
 * - Redis keeps no messages. SQLite keeps the last 4,096, of 8 Mi characters together, for a listener that is slow; one
 *   that was too slow is told by `onReconnect`.
 * - Redis has lost its data when it was emptied or began anew without them, and all goes on. If SQLite's file, or the
 *   log beside it (`-wal`), was deleted or replaced under a program, its calls are refused until it is started again:
 *   no other connection would read what it writes. So end the programs before you delete.
 * - A lock of the file that another process holds for 5 s is a `ConnectionError` that may be tried again.
 *
 * @module
 */

import type { Counters } from "../task/counters.ts";

/** A broker connection of one process. */
export interface Broker {
  /** The address as it may be shown, its password as `***`. */
  readonly address: string;
  /**
   * Connects. Resolves when the server answered, or the file can be written, and its version will do.
   *
   * @throws {ConnectionError} If it cannot be reached, or refuses; `retryable` says which.
   * @throws {IncompatibleError} If the server is too old, or of a kind that is not supported.
   */
  connect(): Promise<void>;
  /** One queue. Makes no call. */
  queue(name: string, options?: QueueOptions): Queue;
  /** Closes every connection, waiting at most 1 s for each. May be called twice, or before `connect`. */
  close(): Promise<void>;
}

/** How a queue is used. */
export interface QueueOptions {
  /**
   * How long a call may take, in milliseconds, its payloads not counted: for callers that would rather fail than wait.
   * A broker in a file has deadlines of its own.
   *
   * @default {5_000}
   */
  readonly callMs?: number;
}

/** A task as it is handed to the broker. */
export interface NewTask {
  /** Its id, a lower-case UUID. */
  readonly id: string;
  /** Its name. */
  readonly name: string;
  /** Its context's JSON: bytes that the broker never looks into. Empty where it takes none. */
  readonly payload: string;
  /** Milliseconds from the broker's now until it is due. Excludes `runAtMs`. */
  readonly delayMs?: number;
  /** Milliseconds of the Unix epoch at which it is due. Excludes `delayMs`. */
  readonly runAtMs?: number;
  /** Counters, where a task whose broker copy was lost is put in again from its row. */
  readonly counters?: Counters;
}

/** Names one claim: nobody without its token may settle it. */
export interface ClaimRef {
  /** The task's id. */
  readonly id: string;
  /** The claim's token, a decimal string. */
  readonly token: string;
}

/** A task that is somebody's to run. */
export interface Claim extends ClaimRef, Counters {
  /** The task's name. */
  readonly name: string;
  /** The context's JSON. */
  readonly payload: string;
  /** How often in a row it was given back because nobody knew its name. */
  readonly unknowns: number;
  /** Milliseconds since the first time in a row that nobody knew its name; 0 where that never was. */
  readonly unknownForMs: number;
}

/** What one call of `claim` brought. */
export interface ClaimAnswer {
  /** False where this worker is not registered (any more); it then gets nothing. */
  readonly registered: boolean;
  /** The claims. */
  readonly claims: readonly Claim[];
  /** Milliseconds until the next delayed task is due; null where none is. */
  readonly nextDueMs: number | null;
  /**
   * Ids that stood in the queue without their task, at most 100: the caller looks up their rows and enqueues them again,
   * or settles them by {@linkcode WorkerQueue.settleOrphans}. One with which neither was done is told of again after 10 s, by
   * the next claim of whichever worker. Redis alone has any: in SQLite an id and its task are one row, so that they are
   * lost together or not at all.
   */
  readonly orphans: readonly string[];
}

/** What `claim` is asked. */
export interface ClaimRequest {
  /** Who asks. */
  readonly workerId: string;
  /** Free slots: at most so many claims. At least 1. */
  readonly slots: number;
  /** The ids that the worker holds; every other claim of it returns to the head, charged nothing. */
  readonly holding: readonly string[];
  /** The lease, in milliseconds. */
  readonly leaseMs: number;
}

/**
 * What a fenced call found: it did its work; the claim is another's or ended ("lost"); or the broker
 * knows nothing of the task ("gone": it ended, or the broker lost its data).
 */
export type SettleOutcome = "done" | "lost" | "gone";

/** The answer of a fenced call that gives a task back. */
export interface Returned {
  /**
   * What it found. `canceled`: the task is to be canceled, so it did not go back, and nothing was counted. The caller
   * ends it, row first, then `end`, under the claim's own token. If it does not within `CANCEL_HOLD_MS`, the
   * next sweep takes the claim.
   */
  readonly outcome: SettleOutcome | "canceled";
  /** The token for the row's fence: of this transition if it was done, of the claim if it is to be canceled. */
  readonly token: string;
}

/** How a task goes back. */
export interface ReleaseOptions {
  /**
   * Where and when it waits: 0 puts it at the head of the queue, more in the delayed set.
   *
   * @default {0}
   */
  readonly delayMs?: number;
  /**
   * What is counted: a crash, a failure (retry), or that the worker did not know the task's name. A crash,
   * a failure and a lapse show that the name is known: the count of unknowns begins anew.
   *
   * @default {undefined} (an interruption: nothing)
   */
  readonly charge?: "crash" | "failure" | "unknown";
}

/** What a worker's once-a-second question is answered, per claim. */
export type ClaimState = "own" | "cancel" | "lost" | "gone";

/** A claim as its owner's supervisor sees it. */
export interface OwnedClaim extends ClaimRef, Counters {
  /** Whose it is. */
  readonly workerId: string;
  /** The task's name. */
  readonly name: string;
  /** Whether the task is to be canceled: once nobody runs it, it ends so, and never goes back to the queue. */
  readonly canceled: boolean;
}

/** What a supervisor's once-a-second bookkeeping is answered. */
export interface Renewal {
  /**
   * True where this supervisor was swept (others took it for dead): it takes a new id and replaces its
   * workers. A broker that lost its data is no sweep: then all is registered again. Once true it stays
   * true for this id, and nothing was renewed.
   */
  readonly swept: boolean;
  /**
   * The claims of its workers, and those that struck-off workers left to it, under the struck-off worker's
   * id, until each is settled.
   */
  readonly owned: readonly OwnedClaim[];
  /** Those of its workers that said ready, with what they said. */
  readonly ready: ReadonlyMap<string, string>;
  /** What is wrong with the queue. */
  readonly diagnostics: QueueDiagnostics;
}

/** The reply to a supervisor that was swept. */
export const SWEPT: Renewal = {
  swept: true,
  owned: [],
  ready: new Map(),
  diagnostics: { foreign: 0, foreignDropped: 0 },
};

/** A claim that a sweep took from a dead owner. */
export interface SweptClaim extends OwnedClaim {
  /**
   * `returned`: it went back to the queue under `token`. `exhausted`: it lapsed too often. `canceled`: it is to be
   * canceled, and was charged no lapse. The last two the sweeper holds (`token` is its own) and ends: row first, then
   * `end`, within one lease. Nobody renews such a claim: if the sweeper dies, a later sweep answers with it again, so
   * ending it twice must do no harm.
   */
  readonly outcome: "returned" | "exhausted" | "canceled";
  /** Milliseconds that it waits; 0 where it stands at the head. */
  readonly delayMs: number;
}

/**
 * What is wrong with a queue: nothing if all numbers are 0.
 *
 * @example
 * ```ts
 * import { Client, type QueueDiagnostics } from "@agentexec/core";
 *
 * function isShared({ foreign, foreignDropped }: QueueDiagnostics): boolean {
 *   return foreign + foreignDropped > 0;
 * }
 *
 * async function check(client: Client) {
 *   const { diagnostics } = await client.depth();
 *   if (isShared(diagnostics)) console.warn("another program writes into this queue");
 * }
 * ```
 */
export interface QueueDiagnostics {
  /**
   * Entries of another program that workers found in the queue's list and put aside, at most 10,000. On Redis they are
   * in the sorted set `{<queue>}:foreign`; SQLite has none.
   */
  readonly foreign: number;
  /** Further ones that were dropped, the oldest first, since there were more than 10,000. */
  readonly foreignDropped: number;
}

/**
 * How much waits.
 *
 * @example
 * ```ts
 * import { Client, type Depth } from "@agentexec/core";
 *
 * function isBehind({ waiting, oldestMs }: Depth): boolean {
 *   return waiting > 1_000 || (oldestMs ?? 0) > 60_000;
 * }
 *
 * async function check(client: Client) {
 *   if (isBehind(await client.depth())) console.warn("more workers are needed");
 * }
 * ```
 */
export interface Depth {
  /** Tasks that wait and are due, those that only a newer version may run among them. */
  readonly waiting: number;
  /** Tasks that wait for their time. */
  readonly delayed: number;
  /** Tasks that are claimed. */
  readonly running: number;
  /** How long the next task to be claimed has waited, in milliseconds; null where none waits. */
  readonly oldestMs: number | null;
  /** What is wrong with the queue. */
  readonly diagnostics: QueueDiagnostics;
}

/**
 * Where the broker has a task: "abandoned" is claimed, but by nobody that lives (its lease, or that of its
 * supervisor, has ended); "unknown" is nowhere.
 */
export type Whereabouts = "waiting" | "delayed" | "claimed" | "abandoned" | "unknown";

/** What a message is about, and whom it is for. */
export type Topic =
  | { readonly kind: "log"; readonly supervisorId: string }
  | { readonly kind: "stop"; readonly supervisorId: string }
  | { readonly kind: "ended"; readonly id: string }
  | { readonly kind: "progress"; readonly id: string };

/** How to listen. */
export interface SubscribeOptions {
  /** Called with each message. Must not throw. On the topic "ended" it is `ended` or `canceled`. */
  readonly onMessage: (message: string) => void;
  /** Called when the connection came back after it had been lost: messages may have been missed. Must not throw. */
  readonly onReconnect?: () => void;
}

/** Ends a subscription. */
export type Unsubscribe = () => Promise<void>;

/** One queue of a broker, with all that whoever uses it may ask. `workerId` is `<supervisorId>/<n>/<spawn>` everywhere. */
export type Queue = WorkerQueue & SupervisorQueue;

/** A queue as producers use it, and everybody else. */
export interface ProducerQueue {
  /** Its name. */
  readonly name: string;
  /**
   * Makes sure that the queue is ours: an empty or known one. Called once before the first use.
   *
   * @returns The broker's id, for the rows.
   * @throws {IncompatibleError} If it holds another program's list, or a protocol this version cannot join.
   */
  open(): Promise<string>;
  /**
   * The ids by which rows of this broker may know it: its present one, and those that it had before it lost its data,
   * as far as a supervisor that lived through it has told by {@linkcode SupervisorQueue.renew}.
   */
  brokerIds(): Promise<readonly string[]>;
  /** A token above all that were given. */
  nextToken(): Promise<string>;
  /** Sees to it that tokens from now on are above `token` (a broker restored from an old copy). */
  raiseToken(token: string): Promise<void>;
  /** How much waits. */
  depth(): Promise<Depth>;
  /** For how long, in milliseconds, no supervisor has renewed itself here; null where none ever did. */
  unservedMs(): Promise<number | null>;
  /** Where each task is, in the order asked. */
  whereabouts(ids: readonly string[]): Promise<readonly Whereabouts[]>;
  /**
   * Sends a message to whoever listens now. A hint: it may be lost. Works when Redis is full.
   *
   * @returns Whether somebody listened, as far as the broker can tell.
   */
  publish(topic: Topic, message: string): Promise<boolean>;
  /** Listens; resolves once the broker confirmed it. Survives reconnects. */
  subscribe(topic: Topic, options: SubscribeOptions): Promise<Unsubscribe>;
  /**
   * Puts tasks in, all or none. A known id is left as it is. Costs the same whatever waits.
   *
   * @throws {RangeError} If an id is no lower-case UUID, or a time is not finite.
   * @throws {ConnectionError} If the broker cannot be reached or is full; `retryable` says which it may be.
   * @throws {IncompatibleError} If the queue is another program's.
   */
  enqueue(tasks: readonly NewTask[]): Promise<readonly ("accepted" | "known")[]>;
  /**
   * Takes a task out where it waits ("removed"), marks it for its worker to stop where it is claimed
   * ("requested"), or says that it is not there ("unknown"). Where it removes, it says so to
   * `ended` listeners. The mark outlives the claim: such a task never goes back to the queue, and no claim returns it.
   * Whoever gives it up, or takes it from who died, is told to end it: see {@linkcode Returned},
   * {@linkcode OwnedClaim} and {@linkcode SweptClaim}.
   */
  cancel(id: string): Promise<"removed" | "requested" | "unknown">;
}

/** A queue as workers use it. */
export interface WorkerQueue extends ProducerQueue {
  /**
   * Waits until there may be something to claim: a hint, `timeoutMs`, or the signal. At most 5 s, whatever
   * is asked; a connection to Redis that stays silent for 2 s longer is thrown away and made anew. One wait at a time.
   * That the broker is away just makes it wait, so a loop of `wait` and `claim` does not spin.
   *
   * @throws {ConnectionError} If waiting cannot help: `retryable` is false.
   */
  wait(options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<void>;
  /**
   * Takes tasks, oldest first, a fair share of what waits (⌈waiting ÷ living workers⌉, at least 1), whose payloads have
   * `CLAIM_BYTES` together. What is too much stays where it is, and can be claimed at once.
   */
  claim(request: ClaimRequest): Promise<ClaimAnswer>;
  /**
   * Settles ids that {@linkcode ClaimAnswer.orphans} told of: those that "ended" are forgotten, "foreign" ones, of which
   * nothing is known, are kept among the foreign entries. `enqueue` settles what it is given.
   */
  settleOrphans(ids: readonly string[], as: "ended" | "foreign"): Promise<void>;
  /**
   * Says that the worker runs; `message` is what its supervisor is told by `renew`, for as long as it renews the
   * worker, else for a minute.
   */
  ready(workerId: string, message: string): Promise<void>;
  /** Whether each claim is still the worker's own, and whether it is to stop. */
  check(claims: readonly ClaimRef[]): Promise<readonly ClaimState[]>;
  /**
   * Takes a claim again that the broker lost ("gone"), under the same token. False where it has meanwhile
   * another owner.
   */
  reassert(
    claim: Claim,
    options: { readonly workerId: string; readonly leaseMs: number },
  ): Promise<boolean>;
  /** The task ended, its row is written: forgets it and tells `ended` listeners. Works when Redis is full. */
  end(claim: ClaimRef): Promise<SettleOutcome>;
  /**
   * Gives the task back: at the head, or with a delay, with or without a charge; unless it is to be canceled. Works when
   * Redis is full.
   */
  release(claim: ClaimRef, options?: ReleaseOptions): Promise<Returned>;
}

/** A queue as supervisors use it. They settle what workers left. */
export interface SupervisorQueue extends ProducerQueue, Pick<WorkerQueue, "end" | "release"> {
  /**
   * The bookkeeping of a second, one script: renews the supervisor, registers its workers (and, where the
   * broker lost them, the supervisor too), and renews the leases of all that they own and of what
   * `removeWorker` left to this supervisor. If the broker has another id than this process knew, since it lost its data
   * and another client came first, the former ids are kept: see {@linkcode ProducerQueue.brokerIds}.
   */
  renew(options: {
    readonly supervisorId: string;
    readonly workerIds: readonly string[];
    readonly leaseMs: number;
  }): Promise<Renewal>;
  /**
   * Strikes a worker off, so that no late claim of it is granted, and answers with the claims it had. They
   * stay claimed, and are the supervisor's to settle, until it ends or releases each. Asked again, it answers
   * with those not settled yet.
   */
  removeWorker(workerId: string): Promise<readonly OwnedClaim[]>;
  /** Strikes the supervisor off, with all its workers. What they own stays claimed until its lease ends. */
  deregister(supervisorId: string): Promise<void>;
  /**
   * Takes dead supervisors off the registry, and the claims of their workers away. Dead is whose registration this
   * process has itself seen unchanged, in the replies to `renew`, for a whole lease of that registration by its own
   * monotonic clock, if the lease has ended by the broker's clock too, or for two leases whatever that says: a clock that
   * is set forward kills nobody, and one that is set back keeps nobody alive. Claims whose supervisor is not registered
   * are taken when their lease has ended. Does nothing until this connection has been unbroken for 5 s, or for one whole
   * lease where that is shorter, nor for a supervisor that is not registered. From the second lapse on a task waits 2^n s, at most 5 min; past `LAPSE_LIMIT` it is exhausted.
   */
  sweep(
    options: { readonly supervisorId: string; readonly leaseMs: number },
  ): Promise<readonly SweptClaim[]>;
  /**
   * Whether this supervisor is its queue's maintainer, of which there is one at a time, for services that need one
   * runner. The first that asks is it for `MAINTAINER_MS`, and each time that it asks again, for as long from
   * then; it is no more once it is struck off.
   */
  maintain(supervisorId: string): Promise<boolean>;
  /**
   * Puts tasks that stand nowhere, since Redis evicted a key of the queue, into their places again: a part of the work,
   * 0.5 s at most, with each call, by the queue's maintainer alone; the signal ends it sooner. In SQLite a task cannot lose
   * its place.
   */
  mend(options: {
    readonly supervisorId: string;
    readonly leaseMs: number;
    readonly signal?: AbortSignal;
  }): Promise<void>;
}
