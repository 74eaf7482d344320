/**
 * The worker's end of the log. In this order it: takes records, never waiting and never throwing; keeps at
 * most a bounded number of bytes, the oldest going first; sends at once when idle and gathers while records
 * keep coming; paces a flood; writes to standard error what the broker does not take; and says
 * bye at the end.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { Buffer } from "node:buffer";
import type { LogRecord, Sink } from "@logtape/logtape";
import { after, monotonicMs, sleep } from "../clock.ts";
import { currentTaskOrUndefined } from "../task/current.ts";
import { escapeRecord } from "./escape.ts";
import { decodeRecord, encodeFrame, encodeRecord, MAX_FRAME_BYTES } from "./frame.ts";
import { type Entry, RecordQueue } from "./record_queue.ts";
import { renderMessage } from "./render.ts";
import { LOG_CLOSE_MS } from "../stop_budget.ts";

/** What a publisher needs. */
export interface LogPublisherOptions {
  /** The worker's id. */
  readonly workerId: string;
  /** The worker's number. */
  readonly number: number;
  /** The worker's process id. */
  readonly pid: number;
  /** Sends one frame to the supervisor. */
  readonly publish: (message: string) => Promise<void>;
  /** Writes one line to the pipe that the supervisor always drains. */
  readonly fallback: (line: string) => void;
  /**
   * Whether a publish may take as long as it takes: for where the same reader is at the end of both ways, so that
   * what the one does not take, the other does not take either. A reader that is slow then costs the oldest records.
   *
   * @default {false}
   */
  readonly patient?: boolean;
  /**
   * The most bytes that wait to be sent.
   *
   * @default {1048576}
   */
  readonly maxBufferedBytes?: number;
}

/** How long one publish may take. */
const PUBLISH_MS = 2_000;
/** The waits between the tries of one frame, while the broker is not known to be away. */
const RETRY_MS = [50, 200];
/** What one worker sends in the long run, so that a flood in one does not drown its supervisor. */
const BYTES_PER_MS = 4 * 1024 * 1024 / 1_000;
/** How far ahead of that a burst may run. */
const BURST_MS = 250;
/** How long after a frame records are gathered for the next: a frame costs more than the records in it. */
const GATHER_MS = 20;
/** What a frame says beside its records. */
const HEAD_BYTES = 1024;

/** Sends what a worker logs to its supervisor. */
export class LogPublisher {
  readonly #options: Required<LogPublisherOptions>;
  /** Runs what it is given outside any task, whoever logged the record that caused it. */
  readonly #outside = AsyncLocalStorage.snapshot();
  readonly #closing = new AbortController();
  readonly #waiting = new RecordQueue();
  #inFlight: readonly Entry[] = [];
  #dropped = 0;
  #diverted = 0;
  #pumping: Promise<void> | undefined;
  #flushes: { readonly seq: number; readonly resolve: () => void }[] = [];
  /** Whether the last publish failed. */
  #away = false;
  /** When the last frame was made. */
  #framedAtMs = -Infinity;
  /** When, at the rate of the long run, what was sent would have been sent. */
  #sentUntilMs = 0;
  /** Ends the wait for the publish under way. */
  #giveUp: () => void = () => {};
  #closed: Promise<void> | undefined;
  #ended = false;

  /** Makes a publisher; it sends nothing before its first record. */
  constructor(options: LogPublisherOptions) {
    this.#options = { maxBufferedBytes: 1024 * 1024, patient: false, ...options };
  }

  /** Takes a record, with the current run's facts among its properties. Never throws, never waits. */
  readonly sink: Sink = (record: LogRecord): void => {
    const json = encodeRecord(record, factsOfCurrentTask());
    const entry = { json, bytes: Buffer.byteLength(json) + 1 };
    if (this.#ended) {
      this.#writeToFallback(entry);
      return;
    }
    this.#waiting.push(entry);
    while (this.#waiting.bytes > this.#options.maxBufferedBytes) {
      this.#waiting.dropOldest();
      this.#dropped++;
    }
    this.#pumping ??= this.#outside(() => this.#pump());
  };

  /** Resolves when all that was logged before has been sent, or written to standard error. */
  flush(): Promise<void> {
    const seq = this.#waiting.nextSeq;
    if (this.#settledSeq >= seq) return Promise.resolve();
    return new Promise((resolve) => this.#flushes.push({ seq, resolve }));
  }

  /**
   * Sends what waits and says bye, within a second unless patient; what could not be sent by then is written to
   * standard error. May be called twice. A record that comes later goes to standard error.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Writes all that has not been sent to standard error, at once: for a process that is about to die. */
  spill(): void {
    const left = [...this.#inFlight, ...this.#waiting.takeAll()];
    this.#inFlight = [];
    for (const entry of left) this.#divert(entry);
  }

  /** All records below this number have been sent, diverted or dropped. */
  get #settledSeq(): number {
    return this.#waiting.firstSeq - this.#inFlight.length;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    const cancel = this.#after(LOG_CLOSE_MS, () => {
      // The broker is away: the pipe takes what is left, and the supervisor waits for no bye.
      this.#ended = true;
      this.spill();
      this.#giveUp();
    });
    while (!this.#ended && this.#settledSeq < this.#waiting.nextSeq) await this.flush();
    if (!this.#ended) {
      this.#ended = true;
      await this.#delivered(this.#frame([], this.#waiting.nextSeq, true));
    }
    cancel();
  }

  async #pump(): Promise<void> {
    // One turn later, so that what is logged in one go travels in one frame.
    await Promise.resolve();
    while (this.#waiting.size > 0) {
      await this.#pace();
      const seq = this.#waiting.firstSeq;
      this.#inFlight = this.#waiting.takeUpTo(MAX_FRAME_BYTES - HEAD_BYTES);
      const message = this.#frame(this.#inFlight, seq, false);
      if (!await this.#deliver(message)) await this.#divertAll();
      this.#inFlight = [];
      this.#resolveFlushes();
    }
    this.#pumping = undefined;
  }

  /** Waits for the records that make a frame worth its cost, and where this worker has sent more than its share. */
  async #pace(): Promise<void> {
    const now = monotonicMs();
    const gather = this.#waiting.bytes < MAX_FRAME_BYTES ? this.#framedAtMs + GATHER_MS - now : 0;
    const wait = Math.max(gather, this.#sentUntilMs - BURST_MS - now);
    if (wait > 0) await sleep(wait, { signal: this.#closing.signal });
    this.#framedAtMs = monotonicMs();
  }

  async #deliver(message: string): Promise<boolean> {
    this.#sentUntilMs = Math.max(this.#sentUntilMs, monotonicMs()) + message.length / BYTES_PER_MS;
    for (let attempt = 0;; attempt++) {
      if (await this.#delivered(message)) {
        this.#away = false;
        return true;
      }
      // A broker that is known to be away is asked once per frame, which is how its return is noticed.
      const wait = RETRY_MS[attempt];
      if (wait === undefined || this.#away || this.#closing.signal.aborted) {
        this.#away = true;
        return false;
      }
      await sleep(wait, { signal: this.#closing.signal });
    }
  }

  /** Publishes once. Why it failed is of no use here: the lines then come by another way. */
  #delivered(message: string): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (success: boolean) => {
        cancel();
        resolve(success);
      };
      const cancel = this.#after(PUBLISH_MS, () => end(false));
      this.#giveUp = () => end(false);
      Promise.resolve(message).then(this.#options.publish).then(() => end(true), () => end(false));
    });
  }

  /** Calls `action` once the time is up, where that ends anything. */
  #after(ms: number, action: () => void): () => void {
    return this.#options.patient ? () => {} : after(ms, action);
  }

  #frame(entries: readonly Entry[], seq: number, bye: boolean): string {
    const { workerId, number, pid } = this.#options;
    return encodeFrame({
      worker: workerId,
      number,
      pid,
      seq,
      records: entries.map((entry) => entry.json),
      dropped: this.#dropped,
      diverted: this.#diverted,
      bye,
    });
  }

  /** Writes what was refused, and all that waits behind it, in slices that let handlers run in between. */
  async #divertAll(): Promise<void> {
    while (this.#inFlight.length > 0) {
      const slice = this.#inFlight;
      this.#inFlight = [];
      for (const entry of slice) this.#divert(entry);
      await sleep(0);
      if (!this.#ended) this.#inFlight = this.#waiting.takeUpTo(MAX_FRAME_BYTES - HEAD_BYTES);
    }
  }

  #divert(entry: Entry): void {
    if (this.#writeToFallback(entry)) this.#diverted++;
  }

  #writeToFallback(entry: Entry): boolean {
    try {
      this.#options.fallback(lineOf(entry.json));
      return true;
    } catch {
      // The pipe is gone too: the record counts as lost, and the supervisor, where there is one, says so.
      return false;
    }
  }

  #resolveFlushes(): void {
    const settled = this.#settledSeq;
    this.#flushes = this.#flushes.filter(({ seq, resolve }) => {
      if (seq <= settled) resolve();
      return seq > settled;
    });
  }
}

function factsOfCurrentTask(): Readonly<Record<string, unknown>> {
  const run = currentTaskOrUndefined();
  if (run === undefined) return {};
  const { taskName, agentId, attempt } = run;
  return { taskName, agentId, attempt };
}

/** A record as a line of text, for the way on which it cannot be a record. */
function lineOf(json: string): string {
  const record = decodeRecord(json);
  if (record === undefined) return "[log record that cannot be read]";
  const { taskName, agentId } = record.properties;
  const task = typeof taskName === "string" ? ` (${taskName} ${String(agentId)})` : "";
  return escapeRecord(`${record.level}: ${renderMessage(record.message)}${task}`);
}
