/**
 * Notices that another process has written: the file of the write-ahead log is watched, and SQLite's own counter says
 * whether anything was committed. Measured: woken within 0.5 ms, where asking the counter every 10 to 20 ms costs 1.3 %
 * of a core per process.
 *
 * @module
 */
import { watch } from "node:fs/promises";
import { after, repeat, sleep, type StopRepeating } from "../../clock.ts";
import type { DatabaseFile } from "./database_file.ts";

/** The net under the watch, whose events can be lost. */
const POLL_MS = 500;
/** Where the system gives no watch (their number is limited), asking is all there is. */
const POLL_ALONE_MS = 20;
/** Between two looks: a busy file changes thousands of times a second. */
const REST_MS = 2;
/** A watch that nobody needs is kept for a moment: an idle worker needs it again at once. */
const LINGER_MS = 1_000;

/** Tells who listens of each change, by this process or another. */
export class Changes {
  readonly #file: DatabaseFile;
  readonly #path: string;
  readonly #listeners = new Set<() => void>();
  #version = "";
  /** Of which file the log is watched. */
  #watched = 0;
  #watching: Watching | undefined;
  #cancelEnd: (() => void) | undefined;
  #closed = false;

  /** Watches nothing yet. */
  constructor(file: DatabaseFile, path: string) {
    this.#file = file;
    this.#path = path;
    file.onCommit = () => this.#tell();
  }

  /** Calls `listener` after each change until the returned function is called. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    this.#cancelEnd?.();
    this.#cancelEnd = undefined;
    // Nobody else writes to a database in memory, and there is no file to watch.
    if (this.#path !== ":memory:") this.#watching ??= this.#watch();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0 || this.#watching === undefined) return;
      this.#cancelEnd?.();
      this.#cancelEnd = after(LINGER_MS, () => void this.#end());
    };
  }

  /** Watches no more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#listeners.clear();
    await this.#end();
  }

  async #end(): Promise<void> {
    this.#cancelEnd?.();
    this.#cancelEnd = undefined;
    const watching = this.#watching;
    this.#watching = undefined;
    await watching?.end();
  }

  #watch(before?: Promise<void>): Watching {
    this.#version = this.#file.version();
    this.#watched = this.#file.replaced;
    return new Watching(`${this.#path}-wal`, () => this.#look(), before);
  }

  /** The log of a file that was replaced changes no more. */
  #watchAnew(): void {
    const before = this.#watching?.end();
    this.#watching = this.#watch(before);
  }

  #look(): void {
    const version = this.#file.version();
    if (version === this.#version) return;
    this.#version = version;
    if (this.#file.replaced !== this.#watched) this.#watchAnew();
    this.#tell();
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/** A watch of one file, with the poll beneath it. */
class Watching {
  readonly #stop = new AbortController();
  readonly #watched: Promise<void>;
  readonly #before: Promise<void> | undefined;
  #poll: StopRepeating;

  /** `before` is the end of the watch that this one takes the place of. */
  constructor(path: string, look: () => void, before?: Promise<void>) {
    this.#before = before;
    const act = () => {
      look();
      return Promise.resolve();
    };
    this.#poll = repeat(POLL_MS, act);
    this.#watched = this.#follow(path, look, () => {
      this.#poll = repeat(POLL_ALONE_MS, act);
    });
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#watched;
    await this.#poll();
    await this.#before;
  }

  async #follow(path: string, look: () => void, alone: () => void): Promise<void> {
    const { signal } = this.#stop;
    try {
      // Pulled, not pushed: what comes while this rests is one event.
      for await (const _ of watch(path, { signal, persistent: true })) {
        look();
        await sleep(REST_MS, { signal });
      }
    } catch {
      // The end of the watch, or a system that gives none: then the poll has to be quicker.
      if (signal.aborted) return;
      await this.#poll();
      alone();
    }
  }
}
