/**
 * Decides when a kit runs its next task: where somebody wants tasks to run, and every handler that runs already waits
 * for a task. So one handler works at a time, in the order of the queue, and whoever waits never waits for a handler
 * that itself waits for something due.
 *
 * @module
 */
import type { Claim } from "../broker/broker.ts";
import { RUN_LIMIT } from "./checks.ts";
import { currentFrame, Frame } from "./frame.ts";
import { Lane } from "./lane.ts";
import type { TestRun } from "./test_pool.ts";

/** What a {@linkcode Runner} is made of. */
export interface RunnerParts {
  /** Takes the next due task; undefined where none is due. Throws once the kit was disposed of. */
  readonly claim: () => Promise<Claim | undefined>;
  /** Does with a claim what a worker does; its handler runs in the frame. */
  readonly work: (claim: Claim, frame: Frame) => Promise<TestRun>;
  /** Those of the tasks that have not ended. */
  readonly openOf: (agentIds: readonly string[]) => Promise<ReadonlySet<string>>;
  /** Throws where too much ran: more than so many runs, and more is due. */
  readonly refuseMore: (limit: number) => Promise<void>;
  /** Whether the kit was disposed of. */
  readonly isClosed: () => boolean;
}

/** Somebody waits for the end of a task. */
interface Wait {
  readonly agentId: string;
  /** Lets the handler that waits count as one that works. */
  readonly over: () => void;
}

/** A call of `run` or `step`. */
interface Turn {
  readonly kind: "run" | "step";
  /** Where the journal stood. */
  readonly from: number;
  readonly answer: PromiseWithResolvers<readonly TestRun[]>;
  /** Whether it has had its task run; always false of `run`, which wants all. */
  served: boolean;
}

/** Runs the tasks of one kit. */
export class Runner {
  readonly #parts: RunnerParts;
  /** What ran, in the order in which it started; empty places are of what still runs. */
  readonly #journal: (TestRun | undefined)[] = [];
  /** What runs, by its place in the journal. */
  readonly #running = new Map<number, Frame>();
  readonly #waits = new Set<Wait>();
  readonly #turns = new Set<Turn>();
  /** The turns of all that is below no handler. */
  readonly #lane = new Lane();
  /** How much the journal may grow, and from where, until it is too much. Undefined once it was. */
  #budget: { readonly from: number; readonly limit: number } | undefined;
  #pumping = false;
  #poked = false;

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  /** Runs everything that is due. */
  run(limit: number): Promise<readonly TestRun[]> {
    return this.#turn("run", limit);
  }

  /** Runs the next due task. */
  async step(): Promise<TestRun | undefined> {
    return (await this.#turn("step", RUN_LIMIT))[0];
  }

  /** Somebody waits for the end of a task, until what is returned is called. */
  hear(agentId: string): () => void {
    const frame = currentFrame();
    this.#allow(frame, RUN_LIMIT);
    const wait = { agentId, over: frame?.wait() ?? (() => {}) };
    this.#waits.add(wait);
    this.poke();
    return () => this.#forget(wait);
  }

  /** Something may be due, or somebody may go on. */
  poke(): void {
    this.#poked = true;
    if (!this.#pumping) void this.#pump();
  }

  #turn(kind: Turn["kind"], limit: number): Promise<readonly TestRun[]> {
    const frame = currentFrame();
    return (frame?.lane ?? this.#lane).do(async () => {
      this.#allow(frame, limit, { anew: frame === undefined });
      const from = this.#journal.length;
      const answer = Promise.withResolvers<readonly TestRun[]>();
      const turn: Turn = { kind, from, answer, served: false };
      const over = frame?.wait();
      this.#turns.add(turn);
      this.poke();
      try {
        return await answer.promise;
      } finally {
        this.#turns.delete(turn);
        over?.();
      }
    });
  }

  /** Begins a new count of runs, unless what runs already goes on by this: it has the limit of whoever began that. */
  #allow(frame: Frame | undefined, limit: number, { anew = false } = {}): void {
    const isIdle = this.#running.size === 0 && this.#waits.size === 0;
    if (anew || (this.#turns.size === 0 && (frame === undefined || isIdle))) {
      this.#budget = { from: this.#journal.length, limit };
    }
  }

  /** One at a time, so that a claim is held before the next is made. */
  async #pump(): Promise<void> {
    this.#pumping = true;
    try {
      while (this.#poked) {
        this.#poked = false;
        while (await this.#mayClaim()) {
          const claim = await this.#parts.claim();
          if (claim !== undefined) this.#start(claim);
          else {
            if (!this.#poked) this.#nothingIsDue();
            break;
          }
        }
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#pumping = false;
    }
  }

  async #mayClaim(): Promise<boolean> {
    await this.#forgetEnded();
    const wanted = this.#waits.size > 0 || [...this.#turns].some((turn) => !turn.served);
    if (!wanted || this.#budget === undefined) return false;
    if ([...this.#running.values()].some((frame) => !frame.isWaiting)) return false;
    const { from, limit } = this.#budget;
    if (this.#journal.length - from < limit) return true;
    try {
      await this.#parts.refuseMore(limit);
    } catch (error) {
      this.#budget = undefined;
      throw error;
    }
    return true;
  }

  /** Whoever waits for a task that has ended goes on by itself. */
  async #forgetEnded(): Promise<void> {
    if (this.#waits.size === 0) return;
    const waits = [...this.#waits];
    const open = await this.#parts.openOf(waits.map(({ agentId }) => agentId));
    for (const wait of waits) if (!open.has(wait.agentId)) this.#forget(wait);
  }

  #forget(wait: Wait): void {
    this.#waits.delete(wait);
    wait.over();
  }

  #start(claim: Claim): void {
    const place = this.#journal.push(undefined) - 1;
    const frame = new Frame(() => this.poke());
    this.#running.set(place, frame);
    const step = [...this.#turns].find(({ kind, served }) => kind === "step" && !served);
    if (step !== undefined) step.served = true;
    void this.#work(claim, frame, place, step);
  }

  async #work(claim: Claim, frame: Frame, place: number, step: Turn | undefined): Promise<void> {
    try {
      const run = await this.#parts.work(claim, frame);
      this.#journal[place] = run;
      step?.answer.resolve([run]);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#running.delete(place);
      this.poke();
    }
  }

  #nothingIsDue(): void {
    for (const { kind, from, answer, served } of this.#turns) {
      if (kind === "step") {
        if (!served) answer.resolve([]);
      } else if (![...this.#running.keys()].some((place) => place >= from)) {
        answer.resolve(this.#journal.slice(from).filter((run) => run !== undefined));
      }
    }
  }

  /** Whoever had tasks run is told. Where nobody did, the test ends with it, as with every unhandled error. */
  #fail(error: unknown): void {
    for (const { answer } of this.#turns) answer.reject(error);
    if (this.#turns.size === 0 && !this.#parts.isClosed()) void Promise.reject(error);
  }
}
