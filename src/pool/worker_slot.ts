/**
 * One numbered place of a pool, `Worker n`: a process in it, and the next one when that ends.
 *
 * @module
 */
import { backoff, sleep } from "../clock.ts";
import type { ChildProcess } from "../process/child.ts";
import type { ExitCause } from "../process/exit_cause.ts";
import { decodeReadyMessage, type ReadyMessage, STOP_LINE } from "../process/handshake.ts";

/**
 * How far a worker is.
 *
 * @example
 * ```ts
 * import type { WorkerState } from "@agentexec/core";
 *
 * function isUp(state: WorkerState): boolean {
 *   return state === "ready" || state === "busy";
 * }
 * ```
 */
export type WorkerState = "starting" | "ready" | "busy" | "stopping" | "exited";

/**
 * A worker as `pool.workers` shows it.
 *
 * @example
 * ```ts
 * import { Pool, type WorkerInfo } from "@agentexec/core";
 *
 * function show({ id, pid, state, tasks, restarts }: WorkerInfo): string {
 *   return `Worker ${id} (${pid ?? "-"}) ${state}, ${tasks.length} tasks, ${restarts} restarts`;
 * }
 *
 * function status(pool: Pool): string {
 *   return pool.workers.map(show).join("\n");
 * }
 * ```
 */
export interface WorkerInfo {
  /** Its number in its pool: `Worker 0` is 0. */
  readonly id: number;
  /** Its process; null while there is none. */
  readonly pid: number | null;
  /** How far it is. */
  readonly state: WorkerState;
  /** The ids of the tasks that it holds: as it says itself, and once a second as the broker has them. */
  readonly tasks: readonly string[];
  /** How many processes before this one ended. */
  readonly restarts: number;
}

/** What a slot asks of its supervisor. */
export interface SlotHost {
  /** Starts a process for the slot. */
  spawn(slot: WorkerSlot, spawnNumber: number): SpawnedWorker;
  /** Told of a process that has ended: kills what is left of its group, settles its tasks. */
  departed(slot: WorkerSlot, worker: SpawnedWorker, cause: ExitCause): Promise<void>;
  /** Told that a worker died before it was ready, for the n-th time in a row. */
  diedEarly(slot: WorkerSlot, cause: ExitCause, stderr: string, times: number): void;
  /** Asked whether what a worker declares will do; says so itself where it will not. */
  accepts(slot: WorkerSlot, message: ReadyMessage): boolean;
  /** Told of a worker that is ready. */
  ready(slot: WorkerSlot, message: ReadyMessage): void;
}

/** A process in a slot. */
export interface SpawnedWorker {
  /** `<supervisorId>/<number>/<spawn>`. */
  readonly workerId: string;
  /** The process. */
  readonly child: ChildProcess;
}

const RESTART_PAUSES = { firstMs: 100, mostMs: 30_000 };

/** One numbered place of a pool. */
export class WorkerSlot {
  /** Its number. */
  readonly number: number;
  readonly #host: SlotHost;
  readonly #stop = new AbortController();
  #worker: SpawnedWorker | undefined;
  #state: WorkerState = "exited";
  #tasks: readonly string[] = [];
  #spawns = 0;
  #earlyDeaths = 0;
  #gotReady = false;
  #cutOff = false;
  #life: Promise<void> = Promise.resolve();

  constructor(number: number, host: SlotHost) {
    this.number = number;
    this.#host = host;
  }

  /** The process in it; undefined while there is none. */
  get worker(): SpawnedWorker | undefined {
    return this.#worker;
  }

  /** The id of its worker while its process lives; one that has ended is to be registered no more. */
  get livingId(): string | undefined {
    return this.#state === "exited" ? undefined : this.#worker?.workerId;
  }

  /** Whether its present process said ready. */
  get isReady(): boolean {
    return this.#state === "ready" || this.#state === "busy";
  }

  /** Whether its present process has ever been ready. */
  get hasBeenReady(): boolean {
    return this.#gotReady;
  }

  /** Whether its present process is killed on purpose, so that what it ran was interrupted, not crashed. */
  get isCutOff(): boolean {
    return this.#cutOff;
  }

  /** The slot as `pool.workers` shows it. */
  get info(): WorkerInfo {
    return {
      id: this.number,
      pid: this.#worker?.child.pid ?? null,
      state: this.#state === "ready" && this.#tasks.length > 0 ? "busy" : this.#state,
      tasks: this.#tasks,
      restarts: Math.max(0, this.#spawns - 1),
    };
  }

  /** Starts its first process, and from then on replaces each that ends. */
  start(): void {
    this.#life = this.#live();
  }

  /** The ids that its worker holds, as it says or the broker has them. */
  holds(ids: readonly string[]): void {
    this.#tasks = ids;
  }

  /**
   * Its worker said that it is ready. Said again, it means nothing. One that will not do claims nothing, so it is
   * killed, and replaced as one that died early.
   */
  heardReady(workerId: string, text: string): void {
    const worker = this.#worker;
    if (worker?.workerId !== workerId || this.#state !== "starting") return;
    const message = decodeReadyMessage(text);
    if (!this.#host.accepts(this, message)) {
      this.#cutOff = true;
      this.#state = "stopping";
      worker.child.kill("SIGKILL");
      return;
    }
    this.#gotReady = true;
    this.#state = "ready";
    this.#earlyDeaths = 0;
    this.#host.ready(this, message);
  }

  /**
   * Tells its worker to finish what it runs and go, and replaces it no more. One that has not got ready until all is
   * heard may never read what it is told: it is killed. Where it got ready unheard, what it took up is cut off.
   */
  async stop(heard: Promise<unknown>): Promise<void> {
    this.#stop.abort();
    const worker = this.#worker;
    if (worker === undefined || this.#state === "exited") return;
    const told = worker.child.send(STOP_LINE);
    if (this.#state === "starting") await heard;
    if (this.livingId === undefined) return;
    const isUnheard = this.#state === "starting";
    this.#state = "stopping";
    if (isUnheard) {
      this.#cutOff = true;
      worker.child.kill("SIGKILL");
    } else if (!await told) worker.child.kill("SIGTERM");
  }

  /** To be called before a stop kills what is left of its worker. */
  cutOff(): void {
    this.#cutOff = true;
  }

  /** Resolves when it is stopped, its last process has ended and its tasks are settled. */
  ended(): Promise<void> {
    return this.#life;
  }

  async #live(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const wasReady = await this.#oneProcess();
      if (!wasReady) {
        await sleep(backoff(this.#earlyDeaths, RESTART_PAUSES), { signal: this.#stop.signal });
      }
    }
  }

  /** A process that the system does not give (no memory, no file, no right) is as one that died at once. */
  #spawn(): SpawnedWorker | undefined {
    try {
      return this.#host.spawn(this, this.#spawns++);
    } catch (error) {
      this.#state = "exited";
      this.#earlyDeaths++;
      const description = `it could not be started: ${(error as Error).message}`;
      this.#host.diedEarly(this, { code: null, signal: null, description }, "", this.#earlyDeaths);
      return undefined;
    }
  }

  /** Answers whether it had got ready. */
  async #oneProcess(): Promise<boolean> {
    this.#state = "starting";
    this.#gotReady = false;
    this.#cutOff = false;
    const worker = this.#spawn();
    if (worker === undefined) return false;
    this.#worker = worker;
    const cause = await worker.child.exited;
    this.#state = "exited";
    this.#tasks = [];
    if (!this.#gotReady) {
      this.#earlyDeaths++;
      // What was killed on purpose did not die by itself.
      if (!this.#cutOff) {
        this.#host.diedEarly(this, cause, worker.child.stderrTail, this.#earlyDeaths);
      }
    }
    await this.#host.departed(this, worker, cause);
    this.#worker = undefined;
    return this.#gotReady;
  }
}
