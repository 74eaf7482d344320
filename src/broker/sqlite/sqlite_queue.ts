/**
 * One queue in SQLite: what the interface promises, each in one transaction.
 *
 * @module
 */
import { LONGEST_WAIT_MS, SWEEP_CONTACT_MS } from "../protocol.ts";
import { monotonicMs, sleep } from "../../clock.ts";
import { ConnectionError } from "../../errors.ts";
import type {
  Claim,
  ClaimAnswer,
  ClaimRef,
  ClaimRequest,
  ClaimState,
  Depth,
  NewTask,
  OwnedClaim,
  Queue,
  ReleaseOptions,
  Renewal,
  Returned,
  SettleOutcome,
  SubscribeOptions,
  SweptClaim,
  Topic,
  Unsubscribe,
  Whereabouts,
} from "../broker.ts";
import { checkToken } from "../checks.ts";
import { RegistrationWatch } from "../registration_watch.ts";
import type { Changes } from "./changes.ts";
import { claimTasks, hasWork } from "./claiming.ts";
import type { DatabaseFile } from "./database_file.ts";
import { enqueueTasks, openQueue, readBrokerIds } from "./enqueueing.ts";
import { countDepth, findTasks, unservedMs, type WaitingTask, waitingTasks } from "./inspecting.ts";
import { channelOf, putMessage, type Subscriptions } from "./messages.ts";
import { QueueNumbers } from "./places.ts";
import { cancelOrMark, checkClaims, endClaim, reassertClaim, releaseClaim } from "./settling.ts";
import {
  deregister,
  maintainQueue,
  removeWorker,
  renewSupervisor,
  sayReady,
  sweepLapsed,
} from "./supervising.ts";

/** What a queue shares with the others of its broker. */
export interface QueueParts {
  /** The file. */
  readonly file: DatabaseFile;
  /** Who notices changes. */
  readonly changes: Changes;
  /** Who listens. */
  readonly subscriptions: Subscriptions;
}

/** A queue in SQLite. */
export class SqliteQueue implements Queue {
  readonly name: string;
  readonly #file: DatabaseFile;
  readonly #changes: Changes;
  readonly #subscriptions: Subscriptions;
  readonly #closed = new AbortController();
  readonly #watch = new RegistrationWatch();
  /** What is written where the file was lost, so that all who opened the queue before still agree. */
  #brokerId: string = crypto.randomUUID();

  /** The ids that the broker had before, as far as this process knows. */
  readonly #formerIds = new Set<string>();

  /** Makes no call. */
  constructor(name: string, { file, changes, subscriptions }: QueueParts) {
    this.name = name;
    this.#file = file;
    this.#changes = changes;
    this.#subscriptions = subscriptions;
  }

  async open(): Promise<string> {
    const to = { queue: this.name, brokerId: this.#brokerId };
    this.#brokerId = await this.#file.write(
      { doing: `open the queue '${this.name}'`, durable: true },
      (transaction) => openQueue(transaction, to),
    );
    return this.#brokerId;
  }

  async brokerIds(): Promise<readonly string[]> {
    return await this.#file.read(
      `look at the queue '${this.name}'`,
      (transaction) => readBrokerIds(transaction, this.name),
    );
  }

  async nextToken(): Promise<string> {
    return await this.#file.write({ doing: `take a token of '${this.name}'` }, (transaction) => {
      const numbers = QueueNumbers.of(transaction, this.name);
      const token = numbers.token();
      numbers.save();
      return String(token);
    });
  }

  async raiseToken(token: string): Promise<void> {
    checkToken(this.name, token);
    await this.#file.write({ doing: `raise the token of '${this.name}'` }, (transaction) => {
      const numbers = QueueNumbers.of(transaction, this.name);
      numbers.raise(Number(token));
      numbers.save();
    });
  }

  async depth(): Promise<Depth> {
    return await this.#file.read(
      `count the queue '${this.name}'`,
      (transaction) => countDepth(transaction, this.name),
    );
  }

  async unservedMs(): Promise<number | null> {
    return await this.#file.read(
      `look at the queue '${this.name}'`,
      (transaction) => unservedMs(transaction, this.name),
    );
  }

  /** What waits, in the order in which it would be claimed if time just went on. */
  async waiting(): Promise<readonly WaitingTask[]> {
    return await this.#file.read(
      `list the queue '${this.name}'`,
      (transaction) => waitingTasks(transaction, this.name),
    );
  }

  async whereabouts(ids: readonly string[]): Promise<readonly Whereabouts[]> {
    return await this.#file.read(
      `find tasks in '${this.name}'`,
      (transaction) => findTasks(transaction, this.name, ids),
    );
  }

  async publish(topic: Topic, message: string): Promise<boolean> {
    const channel = channelOf(this.name, topic);
    await this.#file.write(
      { doing: `publish on '${channel}'` },
      (transaction) => putMessage(transaction, channel, message),
    );
    return true; // A file does not know its readers.
  }

  async subscribe(topic: Topic, options: SubscribeOptions): Promise<Unsubscribe> {
    return await this.#subscriptions.subscribe(channelOf(this.name, topic), options);
  }

  async enqueue(tasks: readonly NewTask[]): Promise<readonly ("accepted" | "known")[]> {
    if (tasks.length === 0) return [];
    const to = { queue: this.name, brokerId: this.#brokerId };
    return await this.#file.write(
      { doing: `enqueue into '${this.name}'`, durable: true },
      (transaction) => enqueueTasks(transaction, to, tasks),
    );
  }

  async cancel(id: string): Promise<"removed" | "requested" | "unknown"> {
    return await this.#file.write(
      { doing: `cancel a task of '${this.name}'`, durable: true },
      (transaction) => cancelOrMark(transaction, this.name, id),
    );
  }

  async wait(
    { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<void> {
    if (this.#closed.signal.aborted) {
      throw new ConnectionError(
        `Cannot wait for '${this.name}' at ${this.#file.address}: the connection was closed`,
        { retryable: false },
      );
    }
    const until = monotonicMs() + Math.min(timeoutMs, LONGEST_WAIT_MS);
    const found = new AbortController();
    const look = () => this.#hasWork() && found.abort();
    // Listens before it looks, so that nothing falls between.
    const stopListening = this.#changes.listen(look);
    try {
      look();
      await sleep(until - monotonicMs(), {
        signal: AbortSignal.any([signal, found.signal, this.#closed.signal]),
      });
    } finally {
      stopListening();
    }
  }

  #hasWork(): boolean {
    try {
      return this.#file.readNow((transaction) => hasWork(transaction, this.name));
    } catch {
      // A file that cannot be read now just makes it wait; the claim that follows says what is wrong.
      return false;
    }
  }

  async claim(request: ClaimRequest): Promise<ClaimAnswer> {
    return await this.#file.write(
      { doing: `claim from '${this.name}'` },
      (transaction) => claimTasks(transaction, this.name, request),
    );
  }

  settleOrphans(): Promise<void> {
    return Promise.resolve();
  }

  async ready(workerId: string, message: string): Promise<void> {
    await this.#file.write(
      { doing: `say ready on '${this.name}'` },
      (transaction) => sayReady(transaction, this.name, { workerId, message }),
    );
  }

  async check(claims: readonly ClaimRef[]): Promise<readonly ClaimState[]> {
    return await this.#file.read(
      `check claims of '${this.name}'`,
      (transaction) => checkClaims(transaction, this.name, claims),
    );
  }

  async reassert(
    claim: Claim,
    options: { readonly workerId: string; readonly leaseMs: number },
  ): Promise<boolean> {
    return await this.#file.write(
      { doing: `take a claim of '${this.name}' again` },
      (transaction) => reassertClaim(transaction, this.name, { claim, ...options }),
    );
  }

  async end(claim: ClaimRef): Promise<SettleOutcome> {
    return await this.#file.write(
      { doing: `end a task of '${this.name}'`, durable: true },
      (transaction) => endClaim(transaction, this.name, claim),
    );
  }

  async release(claim: ClaimRef, options: ReleaseOptions = {}): Promise<Returned> {
    return await this.#file.write(
      { doing: `release a task of '${this.name}'`, durable: true },
      (transaction) => releaseClaim(transaction, this.name, { claim, ...options }),
    );
  }

  async renew(
    options: {
      readonly supervisorId: string;
      readonly workerIds: readonly string[];
      readonly leaseMs: number;
    },
  ): Promise<Renewal> {
    const known = this.#brokerId;
    const formerIds = [...this.#formerIds];
    const renewing = { queue: this.name, brokerId: known, formerIds, ...options };
    const { renewal, registrations, brokerId = known } = await this.#file.write(
      { doing: `renew the supervisor of '${this.name}'` },
      (transaction) => renewSupervisor(transaction, renewing),
    );
    if (brokerId !== known) {
      this.#formerIds.add(known);
      this.#formerIds.delete(brokerId);
      this.#brokerId = brokerId;
    }
    this.#watch.observe(registrations, this.#file.contactMs);
    return renewal;
  }

  async removeWorker(workerId: string): Promise<readonly OwnedClaim[]> {
    return await this.#file.write(
      { doing: `strike a worker off '${this.name}'` },
      (transaction) => removeWorker(transaction, this.name, workerId),
    );
  }

  async deregister(supervisorId: string): Promise<void> {
    await this.#file.write(
      { doing: `strike the supervisor off '${this.name}'` },
      (transaction) => deregister(transaction, this.name, supervisorId),
    );
  }

  async sweep(
    options: { readonly supervisorId: string; readonly leaseMs: number },
  ): Promise<readonly SweptClaim[]> {
    const { leaseMs } = options;
    return await this.#file.write({ doing: `sweep '${this.name}'` }, (transaction) => {
      // Asked with the lock in hand: who had to wait for it long may be the first of many.
      const { contactMs } = this.#file;
      if (contactMs < Math.min(leaseMs, SWEEP_CONTACT_MS)) return [];
      const dead = this.#watch.dead({ contactMs, leaseMs });
      return sweepLapsed(transaction, { queue: this.name, ...options, dead });
    });
  }

  async maintain(supervisorId: string): Promise<boolean> {
    return await this.#file.write(
      { doing: `maintain '${this.name}'` },
      (transaction) => maintainQueue(transaction, this.name, supervisorId),
    );
  }

  mend(): Promise<void> {
    return Promise.resolve();
  }

  /** Ends who waits. */
  close(): void {
    this.#closed.abort();
  }
}
