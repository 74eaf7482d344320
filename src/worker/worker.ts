/**
 * A worker's life: hear what it is, connect, say ready, run the loop, clean up.
 *
 * @module
 */
import { HANDLERS } from "../activity/acquire.ts";
import { openDatabase } from "../activity/connection.ts";
import { ActivityStore } from "../activity/store.ts";
import type { Broker, WorkerQueue } from "../broker/broker.ts";
import { openBroker } from "../broker/open_broker.ts";
import { showBroker, showDatabase } from "../addresses.ts";
import { aborted, monotonicMs, settlesWithin, withDeadline } from "../clock.ts";
import { Contact } from "../contact.ts";
import { AgentexecError, ConnectionError } from "../errors.ts";
import { keepTrying } from "../stores/keep_trying.ts";
import { orphanRun } from "../lifecycle/run.ts";
import { contactLog } from "../log/contact_log.ts";
import { captureConsole, takeOverLogging } from "../log/capture.ts";
import { workerLogger } from "../log/loggers.ts";
import { LogPublisher } from "../log/publisher.ts";
import {
  type BootRecord,
  CANNOT_START_MARK,
  decodeBootRecord,
  READY_HINT,
  type ReadyMessage,
  STOP_LINE,
  WAITING_MARK,
} from "../process/handshake.ts";
import { setWorkerConnections } from "../program/role.ts";
import type { Database } from "../task/context.ts";
import { type DeclaredPool, declaredPools } from "../task/declared.ts";
import { channelOf, type Say } from "./channel.ts";
import { HoldsTeller } from "./holds.ts";
import { readLines } from "./lines.ts";
import { ClaimLoop } from "./loop.ts";
import { narrowToScope, refuseWiderScope } from "./self_scope.ts";
import { ORPHAN_MS, WORKER_CLOSE_MS } from "../stop_budget.ts";

/** How the loop came to run. */
export interface RunWorkerOptions {
  /** The stack of the program's call that became the loop; absent where the program was only evaluated. */
  readonly caller?: string;
}

let running: Promise<void> | undefined;
/** The stack of the first call that was to become the loop. */
let caller: string | undefined;

/**
 * Runs this process as the worker that its supervisor described, and ends the process. Called again, as by code of the
 * program that goes on beside the loop, it waits for the same end.
 */
export function runWorker(options: RunWorkerOptions): Promise<void> {
  caller ??= options.caller;
  return running ??= run();
}

async function run(): Promise<void> {
  const lines = readLines(Deno.stdin.readable);
  const first = await lines.next();
  const boot = decodeBootRecord(first.done ? undefined : first.value);
  const { worker, declared } = await start(boot);
  const code = await worker.live(declared, lines);
  // The program's own timers and servers must not keep a worker that is done.
  Deno.exit(code);
}

/** What keeps a worker from starting here is no fault of the program: its supervisor is told so. */
async function start(boot: BootRecord) {
  try {
    await (boot.narrows ? narrowToScope(boot.scope) : refuseWiderScope(boot.scope));
    const worker = await Worker.open(boot);
    return { worker, declared: await worker.begin() };
  } catch (error) {
    if (!(error instanceof AgentexecError)) throw error;
    writeToStderr(`${CANNOT_START_MARK}${error.name}: ${error.message.replaceAll("\n", " ")}`);
    return Deno.exit(1);
  }
}

/** Waits for stores: those that are away are told of once. */
class Patience {
  readonly #timeoutMs: number;
  readonly #giveUpAt: number;
  readonly #never = new AbortController().signal;
  readonly #waitingFor = new Set<string>();

  constructor(connectMs: number | null) {
    this.#timeoutMs = connectMs ?? Infinity;
    this.#giveUpAt = monotonicMs() + this.#timeoutMs;
  }

  async wait<T>(address: string, connect: () => Promise<T>): Promise<T> {
    const outcome = await keepTrying({
      address,
      connect,
      timeoutMs: this.#timeoutMs,
      giveUpAt: this.#giveUpAt,
      signal: this.#never,
      onRetry: (error) => {
        if (this.#waitingFor.has(address)) return;
        this.#waitingFor.add(address);
        writeToStderr(`${WAITING_MARK}${error.message}`);
      },
    });
    // Without an abort there is always an outcome.
    return outcome as T;
  }
}

class Worker {
  readonly #boot: BootRecord;
  readonly #broker: Broker;
  readonly #queue: WorkerQueue;
  readonly #brokerId: string;
  readonly #store: ActivityStore;
  readonly #say: Say;
  readonly #publisher: LogPublisher;
  readonly #patience: Patience;
  readonly #isAway: () => boolean;
  readonly #stop = new AbortController();
  #handlerDatabase: Database | undefined;
  #loop: ClaimLoop | undefined;
  #orphaned = false;

  private constructor(parts: {
    boot: BootRecord;
    broker: Broker;
    queue: WorkerQueue;
    brokerId: string;
    store: ActivityStore;
    say: Say;
    publisher: LogPublisher;
    patience: Patience;
    isAway: () => boolean;
  }) {
    this.#boot = parts.boot;
    this.#broker = parts.broker;
    this.#queue = parts.queue;
    this.#brokerId = parts.brokerId;
    this.#store = parts.store;
    this.#say = parts.say;
    this.#publisher = parts.publisher;
    this.#patience = parts.patience;
    this.#isAway = parts.isAway;
  }

  static async open(boot: BootRecord): Promise<Worker> {
    const { broker: address, database, tablePrefix, messages, storeContext, queueName } = boot;
    const declared = declaredPools().get(boot.pool);
    const contacts = { broker: new Contact(), database: new Contact() };
    const store = new ActivityStore({
      contact: contacts.database,
      address: database,
      tablePrefix,
      messages,
      storeContext,
      ...(declared?.openDatabase === undefined ? {} : { db: declared.openDatabase }),
    });
    const broker = openBroker(address, {
      clientName: `agentexec-worker-${boot.number}`,
      contact: contacts.broker,
    });
    const patience = new Patience(boot.connectMs);
    await Promise.all([
      patience.wait(showDatabase(database), () => store.connect()),
      patience.wait(showBroker(address), () => broker.connect()),
    ]);
    const queue = broker.queue(queueName);
    const brokerId = await patience.wait(showBroker(address), () => queue.open());
    const say = channelOf(boot, queue);
    const publisher = new LogPublisher({
      workerId: boot.workerId,
      number: boot.number,
      pid: Deno.pid,
      publish: say,
      fallback: writeToStderr,
      patient: boot.channel.kind === "pipe",
    });
    await takeOverLogging(publisher);
    captureConsole();
    setWorkerConnections({ broker: address, database, tablePrefix, queueName });
    contacts.broker.listen(contactLog(showBroker(address), workerLogger));
    contacts.database.listen(contactLog(showDatabase(database), workerLogger));
    const isAway = () => contacts.broker.isAway || contacts.database.isAway;
    return new Worker({ boot, broker, queue, brokerId, store, say, publisher, patience, isAway });
  }

  /** Says what it is, for as long as the broker takes to hear it. */
  async begin(): Promise<DeclaredPool | undefined> {
    const { supervisorId, channel, broker } = this.#boot;
    const address = showBroker(broker);
    if (channel.kind === "broker") {
      await this.#patience.wait(
        address,
        () =>
          this.#queue.subscribe({ kind: "stop", supervisorId }, {
            onMessage: () => this.#stop.abort(),
            // A broker that lost its data has lost that this worker is ready.
            onReconnect: () =>
              void this.#queue.ready(this.#boot.workerId, this.#ready).catch(() => {}),
          }),
      );
    }
    return await this.#patience.wait(address, () => this.#sayReady());
  }

  /** Runs until told to stop, or orphaned. Answers with the exit code. */
  async live(
    declared: DeclaredPool | undefined,
    lines: AsyncIterator<string>,
  ): Promise<number> {
    const hearing = this.#hear(lines);
    if (declared !== undefined) {
      const holds = new HoldsTeller({
        workerId: this.#boot.workerId,
        ids: () => this.#loop?.runs.map((run) => run.claim.id) ?? [],
        say: this.#say,
      });
      this.#loop = new ClaimLoop({
        isAway: this.#isAway,
        onChange: () => holds.changed(),
        workerId: this.#boot.workerId,
        tasks: declared.tasks,
        concurrency: this.#boot.concurrency,
        leaseMs: this.#boot.leaseMs,
        queue: this.#queue,
        store: this.#store,
        brokerId: this.#brokerId,
        messages: this.#boot.messages,
        maxResultBytes: this.#boot.maxResultBytes,
        storeContext: this.#boot.storeContext,
        ungranted: this.#boot.ungranted,
        database: () => this.#database(),
        stopping: this.#stop.signal,
      });
      await Promise.race([this.#loop.run(), hearing]);
    } else {
      await Promise.race([hearing, aborted(this.#stop.signal)]);
    }
    if (this.#orphaned) await this.#giveUp();
    await this.#close();
    return 0;
  }

  /** Resolves when the supervisor is gone; its word to stop only ends the loop. */
  async #hear(lines: AsyncIterator<string>): Promise<void> {
    for (;;) {
      const line = await lines.next();
      if (line.done) break;
      if (line.value === STOP_LINE) this.#stop.abort();
    }
    this.#orphaned = true;
    this.#stop.abort();
  }

  /** Says what this module declares; answers with the pool where it is what the supervisor expects. */
  async #sayReady(): Promise<DeclaredPool | undefined> {
    const declared = declaredPools().get(this.#boot.pool);
    await this.#queue.ready(this.#boot.workerId, this.#ready);
    // A hint: what counts is in the key.
    await this.#say(READY_HINT).catch(() => {});
    if (declared === undefined || declared.queueName !== this.#boot.queueName) return undefined;
    // Its supervisor refuses other names too; until it says so, nothing is to be claimed under them.
    const expected = this.#boot.tasks.every((name) => declared.tasks.has(name));
    return expected ? declared : undefined;
  }

  get #ready(): string {
    const declared = declaredPools().get(this.#boot.pool);
    const message: ReadyMessage = {
      tasks: [...(declared?.tasks.keys() ?? [])],
      pools: [...declaredPools().keys()],
      queueName: declared?.queueName ?? null,
      caller: caller ?? null,
    };
    return JSON.stringify(message);
  }

  #database(): Database {
    const declared = declaredPools().get(this.#boot.pool);
    this.#handlerDatabase ??= openDatabase(this.#boot.database, {
      ...(declared?.openDatabase === undefined ? {} : { db: declared.openDatabase }),
      connections: this.#boot.databasePoolSize,
      acquire: HANDLERS,
      onLongLock: (text) => workerLogger().warn(text),
    });
    return this.#handlerDatabase;
  }

  /** The supervisor died: the runs are told, and their tasks go back at once, so that they run elsewhere. */
  async #giveUp(): Promise<void> {
    const runs = this.#loop?.runs ?? [];
    workerLogger().warn(`The supervisor is gone: giving back ${runs.length} tasks and ending`);
    const all = Promise.allSettled(runs.map(async (run) => {
      run.lose("The supervisor of this worker died");
      await orphanRun(run.claim, { queue: this.#queue, store: this.#store });
    }));
    await settlesWithin(all, ORPHAN_MS);
  }

  async #close(): Promise<void> {
    const limited = (what: string, work: Promise<unknown>) =>
      withDeadline(work, {
        ms: WORKER_CLOSE_MS,
        error: () => new ConnectionError(`Cannot close ${what} within 1 s`, { retryable: true }),
      }).catch((error: Error) => writeToStderr(error.message));
    await limited("the handlers' database", this.#handlerDatabase?.destroy() ?? Promise.resolve());
    await limited("the activity store", this.#store.close());
    const log = this.#publisher.close();
    // A pipe is read, or broken: a supervisor that is busy gets each last line once, however late.
    await (this.#boot.channel.kind === "pipe" ? log : limited("the log", log));
    await limited("the broker", this.#broker.close());
  }
}

const encoder = new TextEncoder();

/** The pipe that the supervisor always drains: for what cannot go by the broker. */
function writeToStderr(line: string): void {
  try {
    Deno.stderr.writeSync(encoder.encode(`${line}\n`));
  } catch (error) {
    // Nobody reads any more: the supervisor is gone, and with it every place to report to.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
