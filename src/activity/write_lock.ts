/**
 * The write lock of an SQLite file, of which there is one: who holds it for long says so, in a file beside the
 * database, and who waits in vain reads it there. SQLite itself tells nobody.
 *
 * @module
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { holderFile } from "../addresses.ts";
import { after, monotonicMs, wallClockMs } from "../clock.ts";
import { LockTurns } from "../sqlite/lock_turns.ts";
import { currentTaskOrUndefined } from "../task/current.ts";

/** After how long a lock is worth a note, most are held for a millisecond; and how often the note is renewed. */
const NOTE_MS = 500;
/** A note that was not renewed for so long is of a process that was killed, or cannot be believed. */
const STALE_MS = 5_000;
/** After how long the operator is told. */
const LONG_MS = 2_000;

/** A task that holds a lock. */
interface HoldingTask {
  readonly name: string;
  readonly agentId: string;
}

/** What the note says. */
interface Holder {
  readonly pid: number;
  /** Absent outside any task. */
  readonly task?: HoldingTask;
  /** Whose transaction it is. */
  readonly of: "program" | "library";
  /** Since when, in milliseconds of the Unix epoch. */
  readonly since: number;
  /** When this was written. */
  readonly at: number;
}

/** How one connection holds the lock. */
export interface WriteLockOptions {
  /** The path of the file. */
  readonly path: string;
  /**
   * Told in a sentence when the program, a handler mostly, has held the lock for 2 s.
   *
   * @default {undefined} (it is the library that holds it)
   */
  readonly onLongLock?: ((text: string) => void) | undefined;
}

/** One connection's hold on the write lock of its file. */
export class WriteLock {
  readonly #options: WriteLockOptions;
  readonly #turns = new LockTurns();
  #held: { readonly since: number; readonly task: HoldingTask | undefined } | undefined;
  #stopTimer = () => {};
  #noted = false;
  #told = false;

  constructor(options: WriteLockOptions) {
    this.#options = options;
  }

  /** Whether the connection has it. */
  get isHeld(): boolean {
    return this.#held !== undefined;
  }

  /** For how long, in milliseconds, it is to be left to others before it is taken again. */
  get leaveMs(): number {
    return this.#turns.leaveMs;
  }

  /** It was taken. `waited`: after others had it. */
  taken({ waited }: { readonly waited: boolean }): void {
    this.#turns.taken();
    // Who was killed with the lock has left a note.
    if (waited) this.#clear();
    const { onLongLock } = this.#options;
    const run = onLongLock === undefined ? undefined : currentTaskOrUndefined();
    const task = run && { name: run.taskName, agentId: run.agentId };
    this.#held = { since: monotonicMs(), task };
    this.#told = false;
    this.#watch();
  }

  /** It was given up. */
  left(): void {
    this.#turns.left();
    this.#stopTimer();
    // A handler that blocked the event loop is told now.
    if (this.#heldMs > LONG_MS) this.#tell();
    this.#held = undefined;
    if (this.#noted) this.#clear();
  }

  /** Who holds it, as the end of a sentence; undefined where nobody says so. */
  holder(): string | undefined {
    const holder = this.#read();
    if (holder === undefined) return undefined;
    const { pid, task, of, since } = holder;
    const own = pid === process.pid && task !== undefined &&
      task.agentId === currentTaskOrUndefined()?.agentId;
    const who = task === undefined
      ? `the ${of === "program" ? "program" : "library"} itself`
      : `task '${task.name}' (${task.agentId})`;
    const seconds = Math.max(0, (wallClockMs() - since) / 1_000).toFixed(1);
    return `${who} in process ${pid} has held its write lock for ${seconds} s` +
      (own ? "; inside a transaction use the transaction's own object, not 'db'" : "");
  }

  #watch(): void {
    this.#stopTimer = after(NOTE_MS, () => {
      this.#note();
      if (this.#heldMs >= LONG_MS) this.#tell();
      this.#watch();
    });
  }

  get #heldMs(): number {
    return this.#held === undefined ? 0 : monotonicMs() - this.#held.since;
  }

  #tell(): void {
    const { path, onLongLock } = this.#options;
    if (onLongLock === undefined || this.#told) return;
    this.#told = true;
    const task = this.#held?.task;
    const who = task === undefined
      ? "This program, outside any task,"
      : `Task '${task.name}' (${task.agentId})`;
    onLongLock(
      `${who} has held the write lock of sqlite:${path} for ` +
        `${
          (this.#heldMs / 1_000).toFixed(1)
        } s, and nobody else can write to it: let a transaction that has ` +
        `written wait for nothing but its own statements`,
    );
  }

  #note(): void {
    const { path } = this.#options;
    if (path === ":memory:" || this.#held === undefined) return;
    const { task } = this.#held;
    const note: Holder = {
      pid: process.pid,
      ...(task === undefined ? {} : { task }),
      of: this.#options.onLongLock === undefined ? "library" : "program",
      since: wallClockMs() - this.#heldMs,
      at: wallClockMs(),
    };
    this.#noted = quietly(() => {
      writeFileSync(holderFile(path), JSON.stringify(note), { mode: 0o600 });
      return true;
    }) ?? false;
  }

  #clear(): void {
    this.#noted = false;
    quietly(() => rmSync(holderFile(this.#options.path), { force: true }));
  }

  #read(): Holder | undefined {
    return quietly(() => {
      const note: Holder = JSON.parse(readFileSync(holderFile(this.#options.path), "utf8"));
      const told = typeof note?.pid === "number" && typeof note.since === "number";
      return told && wallClockMs() - note.at < STALE_MS ? note : undefined;
    });
  }
}

/** The note is a help to people: where the system refuses it, or it is half written, there is none. */
function quietly<T>(body: () => T): T | undefined {
  try {
    return body();
  } catch {
    return undefined;
  }
}
