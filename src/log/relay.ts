/**
 * The supervisor's end of the log: takes frames apart and emits each record again, with its own time and
 * with pool, worker and process id among its properties; turns the lines of a worker's pipes into records;
 * and says how many records of a worker are missing.
 *
 * @module
 */
import { getLogger, type LogLevel, type LogRecord } from "@logtape/logtape";
import { after, monotonicMs, wallClockMs } from "../clock.ts";
import { decodeFrame, type Frame } from "./frame.ts";
import { poolPrefix, withPrefix } from "./prefix.ts";
import { inspectSafely } from "./values.ts";

/** What a relay needs. */
export interface LogRelayOptions {
  /** The pool's name. */
  readonly pool: string;
  /** Whether the default console sink shows the pool's name before a worker's. */
  readonly showPool: boolean;
}

/** A worker as its lines name it. */
export interface RelayedWorker {
  /** The worker's id. */
  readonly workerId: string;
  /** The worker's number. */
  readonly number: number;
  /** The worker's process id. */
  readonly pid: number;
}

/** How many workers are remembered, those that ended included. */
const MAX_WORKERS = 512;
/** The least time between two reports of lost records of one worker. */
const REPORT_EVERY_MS = 5_000;
/** The most characters of one line from a pipe. */
const MAX_LINE_CHARS = 64 * 1024;

interface WorkerState {
  readonly number: number;
  readonly pid: number;
  readonly bye: PromiseWithResolvers<void>;
  /** The number of the next record. */
  expected: number;
  dropped: number;
  diverted: number;
  /** Lost records that have not been reported. */
  lost: number;
  /** How many of them the worker dropped since they came too fast. */
  lostToHaste: number;
  reportedAtMs: number;
  /** Takes back the report that is due by itself; undefined where none is. */
  cancelReport: (() => void) | undefined;
}

/** Emits in this process what the workers of one pool log. */
export class LogRelay {
  readonly #pool: string;
  readonly #showPool: boolean;
  readonly #workers = new Map<string, WorkerState>();
  #refused = 0;
  #closed = false;

  /** Makes the relay of one pool. */
  constructor({ pool, showPool }: LogRelayOptions) {
    this.#pool = pool;
    this.#showPool = showPool;
  }

  /** How many messages were no frames. */
  get refused(): number {
    return this.#refused;
  }

  /** Takes one message from the log channel. Never throws, whatever it is. */
  receive(message: string): void {
    const frame = decodeFrame(message);
    if (frame === undefined) {
      this.#refuse();
      return;
    }
    const state = this.#stateOf(frame);
    this.#countLost(state, frame);
    // A frame that was sent twice, since its first answer was lost, is taken once.
    const known = Math.max(0, state.expected - frame.seq);
    for (const record of frame.records.slice(known)) this.#emit(frame, record);
    state.expected = Math.max(state.expected, frame.seq + frame.records.length);
    if (frame.bye) {
      this.#report(state);
      state.bye.resolve();
    }
  }

  /** Takes one line of a worker's pipe: what a crash, a native library or a program it started wrote. */
  output(worker: RelayedWorker, stream: "stdout" | "stderr", line: string): void {
    const text = line.length <= MAX_LINE_CHARS
      ? line
      : `${line.slice(0, MAX_LINE_CHARS)}… (${line.length - MAX_LINE_CHARS} more characters)`;
    this.#emit(worker, {
      category: ["agentexec", "worker", stream],
      level: stream === "stdout" ? "info" : "warning",
      message: [text],
      rawMessage: text,
      timestamp: wallClockMs(),
      properties: {},
    });
  }

  /** Resolves once the last frame of a worker that exited by itself has been received. */
  byeOf(workerId: string): Promise<void> {
    const known = this.#workers.get(workerId);
    if (known !== undefined) return known.bye.promise;
    return this.#remember(workerId, { number: numberOf(workerId), pid: 0 }).bye.promise;
  }

  /** A worker has ended and been heard to its end: says what is missing of it, which no successor may ever do. */
  ended(workerId: string): void {
    const state = this.#workers.get(workerId);
    if (state !== undefined) this.#report(state);
  }

  /** Says what is missing and has not been said, and from now on at once: no timer is left behind. */
  close(): void {
    this.#closed = true;
    for (const state of this.#workers.values()) this.#report(state);
  }

  #emit(worker: { readonly number: number; readonly pid: number }, record: LogRecord): void {
    const { number, pid } = worker;
    const properties = { ...record.properties, pool: this.#pool, worker: number, pid };
    emitSafely(withPrefix({ ...record, properties }, this.#prefixOf(number)));
  }

  #prefixOf(number: number): string {
    return this.#showPool ? `${this.#pool} Worker ${number}` : `Worker ${number}`;
  }

  #stateOf(frame: Frame): WorkerState {
    return this.#workers.get(frame.worker) ?? this.#remember(frame.worker, frame);
  }

  #remember(
    workerId: string,
    { number, pid }: { readonly number: number; readonly pid: number },
  ): WorkerState {
    for (const [id, other] of this.#workers) {
      const forgotten = this.#workers.size >= MAX_WORKERS;
      // Its successor logs, so nothing more will be missing of it.
      if (forgotten || other.number === number) this.#report(other);
      if (forgotten) this.#workers.delete(id);
    }
    const state: WorkerState = {
      number,
      pid,
      bye: Promise.withResolvers<void>(),
      expected: 0,
      dropped: 0,
      diverted: 0,
      lost: 0,
      lostToHaste: 0,
      reportedAtMs: -Infinity,
      cancelReport: undefined,
    };
    this.#workers.set(workerId, state);
    return state;
  }

  /** What is missing before this frame, but for what came by standard error. */
  #countLost(state: WorkerState, frame: Frame): void {
    const diverted = Math.max(0, frame.diverted - state.diverted);
    const missing = Math.max(0, frame.seq - state.expected - diverted);
    const dropped = Math.max(0, frame.dropped - state.dropped);
    state.diverted = Math.max(state.diverted, frame.diverted);
    state.dropped = Math.max(state.dropped, frame.dropped);
    state.lost += missing;
    state.lostToHaste += Math.min(missing, dropped);
    if (state.lost > 0) this.#reportSoon(state);
  }

  /** At once, or as soon as enough time has passed since the last report: the worker may say nothing more by then. */
  #reportSoon(state: WorkerState): void {
    const waitMs = state.reportedAtMs + REPORT_EVERY_MS - monotonicMs();
    if (this.#closed || waitMs <= 0) this.#report(state);
    else state.cancelReport ??= after(waitMs, () => this.#report(state));
  }

  #report(state: WorkerState): void {
    state.cancelReport?.();
    state.cancelReport = undefined;
    if (state.lost === 0) return;
    const { number, pid, lost, lostToHaste } = state;
    state.lost = 0;
    state.lostToHaste = 0;
    state.reportedAtMs = monotonicMs();
    const why = lostToHaste === lost ? ": they came faster than they could be sent" : "";
    this.#say(
      "warning",
      `${lost} log ${lost === 1 ? "record" : "records"} of Worker ${number} ${
        lost === 1 ? "was" : "were"
      } lost${why}`,
      { worker: number, pid, lost },
    );
  }

  /** Says so the first time and whenever their number has doubled: a flood of them makes no flood. */
  #refuse(): void {
    this.#refused++;
    if ((this.#refused & (this.#refused - 1)) !== 0) return;
    this.#say("warning", `${this.#refused} messages on the log channel were no log frames`, {
      refused: this.#refused,
    });
  }

  #say(level: LogLevel, text: string, more: Record<string, unknown>): void {
    const properties = { pool: this.#pool, ...more };
    const record: LogRecord = {
      category: ["agentexec", "pool"],
      level,
      message: [text],
      rawMessage: text,
      timestamp: wallClockMs(),
      properties,
    };
    emitSafely(withPrefix(record, poolPrefix(this.#pool)));
  }
}

/** The number in `<supervisor>/<number>/<spawn>`. */
function numberOf(workerId: string): number {
  const number = Number(workerId.split("/").at(-2));
  return Number.isSafeInteger(number) && number >= 0 ? number : 0;
}

/** A filter of the program's configuration may throw; the subscription it is called from must go on. */
function emitSafely(record: LogRecord): void {
  try {
    getLogger(record.category).emit(record);
  } catch (error) {
    try {
      getLogger(["logtape", "meta"]).error("Cannot emit a worker's log record: {reason}", {
        reason: inspectSafely(error),
      });
    } catch {
      // The filter refuses that too: there is no place left to say it.
    }
  }
}
