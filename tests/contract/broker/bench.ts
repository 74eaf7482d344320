/**
 * What every test of the broker contract stands on: a queue of its own, connections that are closed at the
 * end, and a supervisor with workers.
 *
 * @module
 */
import type {
  Broker,
  Claim,
  ClaimAnswer,
  NewTask,
  Queue,
  Renewal,
  SweptClaim,
} from "../../../src/broker/broker.ts";
import { waitFor } from "../../support/wait.ts";

/** A store that brokers under test connect to. */
export interface BrokerGround extends AsyncDisposable {
  /** Where it is: what brokers of other processes connect to. */
  readonly url: string;
  /** A new broker, not connected. */
  broker(): Broker;
  /** Takes a waiting task's data away and leaves its id in the queue, where `losesTasks`. */
  loseTask(queue: string, id: string): Promise<void>;
  /** Takes all that the store knows of the queue away. */
  loseQueue(queue: string): Promise<void>;
  /** Sets the broker's clock forward by so many milliseconds as the queue sees it, or back where they are below 0. */
  stepClock(queue: string, ms: number): Promise<void>;
  /** Throws unless all that the store knows of the queue agrees with itself: each id is in one place. */
  audit(queue: string): Promise<void>;
}

/** A broker implementation to be tested. */
export interface BrokerContract {
  /** How its tests are named. */
  readonly name: string;
  /** Whether an id can stand in the queue without its task: where it can, `claim` answers with orphans. */
  readonly losesTasks: boolean;
  /** Opens the store. */
  readonly open: () => Promise<BrokerGround>;
}

/** Longer than any test takes. */
export const LONG_LEASE = 60_000;
/** Short enough to be waited for. */
export const SHORT_LEASE = 300;

/** A supervisor of a test, with its workers' ids. */
export interface Crew {
  /** Its id. */
  readonly supervisorId: string;
  /** Its workers. */
  readonly workerIds: readonly [string, ...string[]];
}

/** A new supervisor with `count` workers, not registered. */
export function crew(count = 1): Crew {
  const supervisorId = crypto.randomUUID();
  const others = Array.from({ length: count - 1 }, (_, n) => `${supervisorId}/${n + 1}/0`);
  return { supervisorId, workerIds: [`${supervisorId}/0/0`, ...others] };
}

/** A new task. */
export function task(options: Partial<NewTask> = {}): NewTask {
  return { id: crypto.randomUUID(), name: "greet", payload: '{"name":"Ada"}', ...options };
}

/** The only element. */
export function only<T>(items: readonly T[]): T {
  const [item] = items;
  if (items.length !== 1 || item === undefined) {
    throw new Error(`One element was expected, there are ${items.length}`);
  }
  return item;
}

/** A queue under test. */
export class Bench implements AsyncDisposable {
  /** The queue's name. */
  readonly name = `contract_${crypto.randomUUID().replaceAll("-", "")}`;
  /** The store. */
  readonly ground: BrokerGround;
  readonly #brokers: Broker[] = [];

  constructor(ground: BrokerGround) {
    this.ground = ground;
  }

  /** A connection of its own to the queue, opened. */
  async connect(): Promise<Queue> {
    const broker = this.ground.broker();
    this.#brokers.push(broker);
    await broker.connect();
    const queue = broker.queue(this.name);
    await queue.open();
    return queue;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#brokers.map((broker) => broker.close()));
    await this.ground.loseQueue(this.name);
    await this.ground[Symbol.asyncDispose]();
  }
}

/** Registers a test on a queue of its own. */
export function contractTest(
  contract: BrokerContract,
  name: string,
  body: (queue: Queue, bench: Bench) => Promise<void>,
): void {
  Deno.test(`${contract.name}: ${name}`, async () => {
    await using bench = new Bench(await contract.open());
    await body(await bench.connect(), bench);
    await bench.ground.audit(bench.name);
  });
}

/** Registers a crew. */
export async function register(
  queue: Queue,
  { supervisorId, workerIds }: Crew,
  leaseMs = LONG_LEASE,
): Promise<Renewal> {
  return await queue.renew({ supervisorId, workerIds, leaseMs });
}

/** What a claim may be asked besides who asks. */
export interface ClaimOptions {
  readonly slots?: number;
  readonly holding?: readonly string[];
  readonly leaseMs?: number;
}

/** Claims for a worker. */
export async function claim(
  queue: Queue,
  workerId: string,
  { slots = 1, holding = [], leaseMs = LONG_LEASE }: ClaimOptions = {},
): Promise<ClaimAnswer> {
  return await queue.claim({ workerId, slots, holding, leaseMs });
}

/** Claims the one task that a worker gets. */
export async function claimOne(
  queue: Queue,
  workerId: string,
  options: ClaimOptions = {},
): Promise<Claim> {
  return only((await claim(queue, workerId, options)).claims);
}

/** Keeps a supervisor alive and lets it sweep until that takes something. */
export async function sweepUntilTaken(
  queue: Queue,
  sweeper: Crew,
  leaseMs = SHORT_LEASE,
): Promise<readonly SweptClaim[]> {
  const { supervisorId } = sweeper;
  return await waitFor(async () => {
    await register(queue, sweeper, leaseMs);
    const swept = await queue.sweep({ supervisorId, leaseMs });
    return swept.length > 0 && swept;
  }, { what: "a sweep to take something" });
}
