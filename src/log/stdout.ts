/**
 * Standard output for a process that must not stop: a terminal that was paused or a pipe that nobody reads
 * blocks whoever writes, and a supervisor that is blocked loses its leases. So lines wait here, a bounded
 * number of bytes, while one write is under way.
 *
 * @module
 */
import { sleep, withDeadline } from "../clock.ts";
import { AgentexecError } from "../errors.ts";
import { STDOUT_FLUSH_MS } from "../stop_budget.ts";

/** Where the bytes go; `Deno.stdout` is one. */
export interface ByteOutput {
  /** Writes some of the bytes and says how many, without blocking the process. */
  write(bytes: Uint8Array): Promise<number>;
  /** Writes some of the bytes and says how many, blocking. */
  writeSync(bytes: Uint8Array): number;
}

/** What a {@linkcode LineOutput} needs. */
export interface LineOutputOptions {
  /** Where the bytes go. */
  readonly output: ByteOutput;
  /** Makes the line that stands for lines that were dropped. */
  readonly describeDropped: (count: number) => string;
  /**
   * The most characters that wait.
   *
   * @default {4194304}
   */
  readonly maxChars?: number;
}

const CHUNK_CHARS = 64 * 1024;
const AGAIN_MS = 10;

/** Writes lines in order, dropping the oldest where they come faster than they are taken. */
export class LineOutput {
  readonly #options: Required<LineOutputOptions>;
  readonly #encoder = new TextEncoder();
  #waiting: string[] = [];
  #head = 0;
  #chars = 0;
  #dropped = 0;
  /** The rest of the chunk that is being written. */
  #current: Uint8Array = new Uint8Array();
  #pumping: Promise<void> | undefined;
  #broken = false;

  /** Makes it; nothing is written yet. */
  constructor(options: LineOutputOptions) {
    this.#options = { maxChars: 4 * 1024 * 1024, ...options };
  }

  /** Takes one record's text, newline included. */
  write(text: string): void {
    if (this.#broken) return;
    this.#waiting.push(text);
    this.#chars += text.length;
    while (this.#chars > this.#options.maxChars && this.#head < this.#waiting.length - 1) {
      this.#chars -= this.#waiting[this.#head++]?.length ?? 0;
      this.#dropped++;
    }
    this.#pumping ??= this.#pump();
  }

  /** Resolves when all has been written, or after a second: what was not taken by then is forgotten. */
  async flush(): Promise<void> {
    if (this.#pumping === undefined) return;
    try {
      await withDeadline(this.#pumping, {
        ms: STDOUT_FLUSH_MS,
        error: () => new AgentexecError("Cannot write to standard output: nobody reads it"),
      });
    } catch {
      // Where the lines would be read, nobody reads: there is nobody to tell.
      this.#forget();
    }
  }

  /** Writes what waits at once, for a process that is about to end. */
  flushSync(): void {
    try {
      this.#writeSync(this.#current);
      this.#current = new Uint8Array();
      for (let chunk = this.#take(); chunk.length > 0; chunk = this.#take()) this.#writeSync(chunk);
    } catch {
      this.#forget(); // The reader is gone.
    }
  }

  async #pump(): Promise<void> {
    await Promise.resolve(); // One turn later, so that what is logged in one go is one write.
    try {
      for (let chunk = this.#take(); chunk.length > 0; chunk = this.#take()) {
        this.#current = chunk;
        while (this.#current.length > 0) {
          const written = await writeSome(this.#options.output, this.#current);
          this.#current = this.#current.subarray(written);
        }
      }
    } catch {
      // The reader is gone: a supervisor goes on without anybody who reads its log.
      this.#forget();
      this.#broken = true;
    }
    this.#pumping = undefined;
  }

  #writeSync(bytes: Uint8Array): void {
    for (let rest = bytes; rest.length > 0;) {
      rest = rest.subarray(this.#options.output.writeSync(rest));
    }
  }

  #take(): Uint8Array {
    let text = "";
    if (this.#dropped > 0) {
      text = this.#options.describeDropped(this.#dropped);
      this.#dropped = 0;
    }
    while (this.#head < this.#waiting.length && text.length < CHUNK_CHARS) {
      const next = this.#waiting[this.#head++] ?? "";
      this.#chars -= next.length;
      text += next;
    }
    if (this.#head === this.#waiting.length || this.#head > 1_000) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    return this.#encoder.encode(text);
  }

  #forget(): void {
    this.#waiting = [];
    this.#head = 0;
    this.#chars = 0;
    this.#dropped = 0;
    this.#current = new Uint8Array();
  }
}

/** Writes some of the bytes and says how many: none where the output is full, after a moment's wait. */
export async function writeSome(output: ByteOutput, bytes: Uint8Array): Promise<number> {
  try {
    return await output.write(bytes);
  } catch (error) {
    if (!isTransient(error)) throw error;
    await sleep(AGAIN_MS);
    return 0;
  }
}

/** A pipe in non-blocking mode that is full, or a call that a signal cut short. */
function isTransient(error: unknown): boolean {
  return error instanceof Deno.errors.WouldBlock || error instanceof Deno.errors.Interrupted;
}
