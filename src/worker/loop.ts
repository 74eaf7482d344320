/**
 * A worker's loop: claims while there are free slots, waits for a hint while there is nothing, asks once a
 * second whether its claims are still its own, and ends when it is told to.
 *
 * @module
 */
import type { Claim, ClaimState } from "../broker/broker.ts";
import { repeat, sleep } from "../clock.ts";
import { reassertClaim, restoreOrphans } from "../lifecycle/restore.ts";
import { postponeRun } from "../lifecycle/run.ts";
import { settleUnknown } from "../lifecycle/unknown.ts";
import { workerLogger } from "../log/loggers.ts";
import { TroubleLog } from "../log/trouble.ts";
import type { Task } from "../task/definition.ts";
import { Run, type RunEnvironment } from "./run.ts";

/** How long an idle worker waits for a hint; a broker may shorten it. */
const IDLE_WAIT_MS = 5_000;
/** Between two claims while the broker does not know this worker (yet), or does not answer. */
const TRY_AGAIN_MS = 250;
const CHECK_EVERY_MS = 1_000;

/** What a loop is made of. */
export interface LoopParts extends Omit<RunEnvironment, "onRefused"> {
  /** `<supervisorId>/<number>/<spawn>`. */
  readonly workerId: string;
  /** The pool's tasks. */
  readonly tasks: ReadonlyMap<string, Task>;
  /** Whether a store is known to be away. */
  readonly isAway: () => boolean;
  /** How many tasks at once. */
  readonly concurrency: number;
  /** The lease of a claim, in milliseconds. */
  readonly leaseMs: number;
  /** Called when the runs under way have changed. */
  readonly onChange: () => void;
}

/** The loop of one worker. */
export class ClaimLoop {
  readonly #parts: LoopParts;
  readonly #runs = new Map<string, Run>();
  /** Claims without a run that are being settled: held too, or the next claim would take them back. */
  readonly #settling = new Set<string>();
  readonly #stop = new AbortController();
  /** Resolves the wait of a loop without a free slot. */
  #wakeUp: () => void = () => {};
  readonly #trouble: TroubleLog;

  constructor(parts: LoopParts) {
    this.#parts = parts;
    this.#trouble = new TroubleLog(workerLogger, parts.isAway);
    parts.stopping.addEventListener("abort", () => this.stop(), { once: true });
    if (parts.stopping.aborted) this.stop();
  }

  /** Claims nothing more; `run` resolves when what runs has ended. */
  stop(): void {
    this.#stop.abort();
    this.#wakeUp();
  }

  /** The runs under way. */
  get runs(): readonly Run[] {
    return [...this.#runs.values()];
  }

  /** Runs until stopped and every run has ended, or what is left of them is lost. */
  async run(): Promise<void> {
    const stopChecking = repeat(CHECK_EVERY_MS, {
      action: () => this.#check(),
      onError: (error) => this.#sayTrouble("ask for", "the claims", error),
    });
    try {
      while (!this.#stop.signal.aborted) {
        if (this.#slots <= 0) await this.#slotOrStop();
        else await this.#claimOrWait();
      }
      while (this.runs.some((run) => !run.isLost)) await this.#slotOrStop();
    } finally {
      await stopChecking();
    }
  }

  /** How many slots are free: a run whose end the database refuses for now needs none. */
  get #slots(): number {
    return this.#parts.concurrency - this.runs.filter((run) => !run.isEnding).length;
  }

  #slotOrStop(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeUp = resolve;
    });
  }

  async #claimOrWait(): Promise<void> {
    const { queue, workerId, leaseMs } = this.#parts;
    const { signal } = this.#stop;
    try {
      const answer = await queue.claim({
        workerId,
        slots: this.#slots,
        holding: [...this.#runs.keys(), ...this.#settling],
        leaseMs,
      });
      for (const claim of answer.claims) this.#start(claim);
      if (answer.orphans.length > 0) await this.#restore(answer.orphans);
      if (!answer.registered) return await sleep(TRY_AGAIN_MS, { signal });
      if (answer.claims.length > 0) return;
      await queue.wait({
        timeoutMs: Math.min(IDLE_WAIT_MS, answer.nextDueMs ?? IDLE_WAIT_MS),
        signal,
      });
    } catch (error) {
      // Whatever the stores refuse, it is no reason to take what runs beside down with the process.
      this.#sayTrouble("claim", "a task", error);
      await sleep(TRY_AGAIN_MS, { signal });
    }
  }

  /** The broker tells again of those that are not settled now. */
  async #restore(orphans: readonly string[]): Promise<void> {
    try {
      await restoreOrphans(orphans, this.#parts);
    } catch (error) {
      this.#sayTrouble("restore", `${orphans.length} tasks that the broker lost`, error);
    }
  }

  #start(claim: Claim): void {
    const task = this.#parts.tasks.get(claim.name);
    if (task === undefined) return void this.#settleUnknown(claim);
    const run = new Run(claim, task, { ...this.#parts, onRefused: () => this.#wakeUp() });
    this.#runs.set(claim.id, run);
    this.#parts.onChange();
    this.#supervise(run);
  }

  async #settleUnknown(claim: Claim): Promise<void> {
    this.#settling.add(claim.id);
    try {
      await settleUnknown(claim, { ...this.#parts, until: () => this.#parts.stopping });
    } catch (error) {
      this.#sayTrouble("give back", `task ${claim.name} ${claim.id}`, error);
    } finally {
      this.#settling.delete(claim.id);
    }
  }

  async #supervise(run: Run): Promise<void> {
    try {
      await run.execute();
    } catch (error) {
      this.#sayTrouble("run", `task ${run.claim.name} ${run.claim.id}`, error);
      await this.#giveBack(run.claim);
    } finally {
      this.#runs.delete(run.claim.id);
      this.#parts.onChange();
      this.#wakeUp();
    }
  }

  /** The stores failed, not the task: it waits a moment and costs it nothing. */
  async #giveBack(claim: Claim): Promise<void> {
    try {
      await postponeRun(claim, this.#parts);
    } catch (error) {
      // The next claim's `holding` no longer names it, which gives it back too.
      this.#sayTrouble("give back", `task ${claim.name} ${claim.id}`, error);
    }
  }

  async #check(): Promise<void> {
    const runs = this.runs.filter((run) => !run.isLost);
    if (runs.length === 0) return;
    const states = await this.#parts.queue.check(runs.map((run) => run.claim));
    for (const [index, run] of runs.entries()) {
      const state = states[index];
      if (state !== undefined && this.#runs.has(run.claim.id)) await this.#apply(run, state);
    }
  }

  async #apply(run: Run, state: ClaimState): Promise<void> {
    switch (state) {
      case "own":
        return;
      case "cancel":
        run.cancel();
        return;
      case "gone":
        // The broker lost its data, or the run is just being settled. While it runs, it is still ours.
        if (!await this.#reassert(run)) this.#lose(run);
        return;
      case "lost":
        this.#lose(run);
        return;
      default:
        return state satisfies never;
    }
  }

  async #reassert({ claim }: Run): Promise<boolean> {
    const { workerId, leaseMs } = this.#parts;
    const isRunning = () => this.#runs.has(claim.id);
    return await reassertClaim({ claim, workerId, leaseMs, isRunning }, this.#parts);
  }

  /** A worker that lost a run ends once its others have: what the lost handler still does is not to be trusted. */
  #lose(run: Run): void {
    workerLogger().warn(
      `Lost task ${run.claim.name} ${run.claim.id} to another worker: this run writes nothing more, the worker ends`,
    );
    run.lose("The run was lost: another worker has the task now");
    this.stop();
  }

  #sayTrouble(doing: string, what: string, error: unknown): void {
    this.#trouble.say(doing, `Cannot ${doing} ${what}`, error);
  }
}
