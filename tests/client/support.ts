/**
 * A producer under test, and a worker that is driven by hand: it does what the worker's loop does, one step
 * at a time, so that a test can stand between any two of them.
 *
 * @module
 */
import type { ActivityWrite } from "../../src/activity/rows.ts";
import { ActivityStore } from "../../src/activity/store.ts";
import type { Claim, Queue } from "../../src/broker/broker.ts";
import { openBroker } from "../../src/broker/open_broker.ts";
import { Client, type ClientOptions } from "../../src/client/client.ts";
import { parseBrokerUrl, parseDatabaseUrl } from "../../src/addresses.ts";
import { activityMessages } from "../../src/config.ts";
import { sharedPostgres, sharedRedisUrl } from "../support/servers.ts";
import { waitFor } from "../support/wait.ts";

/** What a test of the client has. */
export interface Bench extends AsyncDisposable {
  /** A client on a queue and a database of its own, migrated. */
  readonly client: Client;
  /** What the client was made with. */
  readonly options: ClientOptions & {
    readonly brokerUrl: string;
    readonly databaseUrl: string;
    readonly queueName: string;
  };
  /** The broker and the database, past the client. */
  readonly queue: Queue;
  /** The database. */
  readonly store: ActivityStore;
  /** Another worker of this queue. */
  worker(options?: { readonly leaseMs?: number }): Promise<HandWorker>;
}

/** Makes a bench; `options` beat the shared servers. */
export async function makeBench(options: ClientOptions = {}): Promise<Bench> {
  const queueName = `q-${crypto.randomUUID()}`;
  const database = options.databaseUrl === undefined
    ? await sharedPostgres().freshDatabase()
    : undefined;
  const all = {
    brokerUrl: sharedRedisUrl(),
    databaseUrl: database?.url ?? "",
    queueName,
    ...options,
  } as Bench["options"];
  const client = new Client(all);
  await client.migrate();
  const broker = openBroker(parseBrokerUrl({ value: all.brokerUrl, source: "test" }));
  const store = new ActivityStore({
    address: parseDatabaseUrl({ value: all.databaseUrl, source: "test" }),
    tablePrefix: "agentexec_",
    messages: activityMessages(),
  });
  await Promise.all([broker.connect(), store.connect()]);
  const queue = broker.queue(all.queueName);
  await queue.open();
  const workers: HandWorker[] = [];
  return {
    client,
    options: all,
    queue,
    store,
    async worker({ leaseMs = 30_000 } = {}) {
      const worker = new HandWorker(queue, store, leaseMs);
      workers.push(worker);
      await worker.register();
      return worker;
    },
    async [Symbol.asyncDispose]() {
      await client.close();
      await Promise.all([broker.close(), store.close()]);
      await database?.[Symbol.asyncDispose]();
    },
  };
}

/** A worker driven by hand, with a supervisor of its own. */
export class HandWorker {
  readonly #supervisorId = crypto.randomUUID();
  readonly #queue: Queue;
  readonly #store: ActivityStore;
  readonly #leaseMs: number;
  readonly #holding = new Set<string>();

  constructor(queue: Queue, store: ActivityStore, leaseMs: number) {
    this.#queue = queue;
    this.#store = store;
    this.#leaseMs = leaseMs;
  }

  get id(): string {
    return `${this.#supervisorId}/0/0`;
  }

  async register(leaseMs = this.#leaseMs): Promise<void> {
    await this.#queue.renew({
      supervisorId: this.#supervisorId,
      workerIds: [this.id],
      leaseMs,
    });
  }

  /** What one call of `claim` brings. */
  async tryClaim(): Promise<Claim | undefined> {
    const { claims } = await this.#queue.claim({
      workerId: this.id,
      slots: 1,
      holding: [...this.#holding],
      leaseMs: this.#leaseMs,
    });
    const [claim] = claims;
    if (claim !== undefined) this.#holding.add(claim.id);
    return claim;
  }

  /** The next task, once there is one. */
  async claim(): Promise<Claim> {
    return await waitFor(() => this.tryClaim(), { what: "a task to claim" });
  }

  /** Claims the next task and says that it runs. */
  async start(): Promise<Claim> {
    const claim = await this.claim();
    await this.write(claim, { status: "running", counters: { attempt: claim.attempt } });
    return claim;
  }

  /** Writes into the task's row under the claim's token; answers what became of it. */
  async write(claim: Claim, write: Omit<ActivityWrite, "agentId" | "token">): Promise<string> {
    const { kind } = await this.#store.write({ agentId: claim.id, token: claim.token, ...write });
    return kind;
  }

  /** Ends a run: the row, then the broker. */
  async end(claim: Claim, write: Omit<ActivityWrite, "agentId" | "token">): Promise<string> {
    const written = await this.write(claim, write);
    await this.#queue.end(claim);
    this.#holding.delete(claim.id);
    return written;
  }

  /** Claims, starts and completes the next task. */
  async complete(result?: unknown): Promise<Claim> {
    const claim = await this.start();
    await this.end(claim, {
      status: "complete",
      ...(result === undefined ? {} : { result: JSON.stringify(result) }),
    });
    return claim;
  }

  /** Says how far the task is, to the row and to who listens. */
  async progress(claim: Claim, message: string, percentage: number): Promise<void> {
    const progress = { status: "running", message, percentage };
    await this.#queue.publish({ kind: "progress", id: claim.id }, JSON.stringify(progress));
    await this.write(claim, { message, percentage });
  }

  /** Gives the task back, in the broker alone. */
  async release(claim: Claim): Promise<string> {
    const { token } = await this.#queue.release(claim);
    this.#holding.delete(claim.id);
    return token;
  }
}
