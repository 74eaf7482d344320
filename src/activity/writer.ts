/**
 * Writes of tasks' lives, grouped: what gathers while one statement is under way goes out in the next. A lone write
 * waits for nothing.
 *
 * @module
 */
import type { ActivityWrite, WriteOutcome } from "./activity.ts";
import { sanitizeText } from "../task/text.ts";
import { failureOf } from "./failure.ts";
import type { Session } from "./session.ts";
import { writeGroup } from "./write_group.ts";

/** A write with its number under its token. */
export interface NumberedWrite extends ActivityWrite {
  /** The number of its log line; that of `logFirst` is one less. */
  readonly seq: number;
}

/** How one write is made. */
export interface WriteOptions {
  /** Ends the tries of a write that the database does not answer. */
  readonly signal?: AbortSignal | undefined;
}

interface Pending {
  readonly write: NumberedWrite;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (outcome: WriteOutcome) => void;
  readonly reject: (error: unknown) => void;
}

const MESSAGE_BYTES = 1_024;
const ERROR_BYTES = 16 * 1_024;
/** The most writes of one statement. */
const GROUP = 500;
/** How long a statement is tried again before those of its group that gave up are let go. */
const TRY_MS = 2_000;

/** The writer of one process. */
export class Writer {
  readonly #session: Session;
  #pending: Pending[] = [];
  #flushing: Promise<void> | undefined;
  /** The next number per task, under the token it was written with last. */
  readonly #numbers = new Map<string, { readonly token: string; readonly next: number }>();

  constructor(session: Session) {
    this.#session = session;
  }

  /** Writes; tried again while the connection is the trouble, until the signal aborts. */
  write(write: ActivityWrite, { signal }: WriteOptions): Promise<WriteOutcome> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ write: this.#number(clean(write)), signal, resolve, reject });
      this.#flushing ??= this.#flush();
    });
  }

  /** Resolves when all that was handed over has been written or given up. */
  async drain(): Promise<void> {
    await this.#flushing;
  }

  #number(write: ActivityWrite): NumberedWrite {
    const { agentId, token, status, logFirst } = write;
    const known = this.#numbers.get(agentId);
    const first = known?.token === token ? known.next : 0;
    const seq = first + (logFirst === undefined ? 0 : 1);
    if (status === undefined || status === "running") {
      this.#numbers.set(agentId, { token, next: seq + 1 });
    } else this.#numbers.delete(agentId);
    return { ...write, seq };
  }

  async #flush(): Promise<void> {
    // The writes of one turn go together.
    await Promise.resolve();
    while (this.#pending.length > 0) await this.#writeAll(this.#nextGroup());
    this.#flushing = undefined;
  }

  /** At most one write per task: a later one builds on what the earlier one made. */
  #nextGroup(): Pending[] {
    const group = new Map<string, Pending>();
    const rest: Pending[] = [];
    for (const pending of this.#pending) {
      const { agentId } = pending.write;
      if (
        group.size < GROUP && !group.has(agentId) &&
        !rest.some((each) => each.write.agentId === agentId)
      ) {
        group.set(agentId, pending);
      } else rest.push(pending);
    }
    this.#pending = rest;
    // Sorted, so that two writers lock rows in the same order.
    return [...group.values()].sort((a, b) => a.write.agentId < b.write.agentId ? -1 : 1);
  }

  async #writeAll(group: readonly Pending[]): Promise<void> {
    try {
      const outcomes = await this.#session.retrying(
        "write activities",
        () => writeGroup(this.#session, group.map(({ write }) => write)),
        { forMs: TRY_MS },
      );
      group.forEach(({ write, resolve }) =>
        resolve(outcomes.get(write.agentId) ?? { kind: "missing" })
      );
    } catch (error) {
      await this.#afterFailure(group, error);
    }
  }

  async #afterFailure(group: readonly Pending[], error: unknown): Promise<void> {
    switch (failureOf(error)) {
      case "connection":
        // Who still waits goes on waiting, at the head of what has gathered; who gave up is let go.
        group.filter(({ signal }) => signal?.aborted).forEach(({ reject }) => reject(error));
        this.#pending = [...group.filter(({ signal }) => !signal?.aborted), ...this.#pending];
        return;
      case "refused":
        group.forEach(({ reject }) => reject(error));
        return;
      case "data":
        return await this.#split(group, error);
    }
  }

  /** One write that the database refuses for its data must not take its neighbours along. */
  async #split(group: readonly Pending[], error: unknown): Promise<void> {
    const [only] = group;
    if (group.length === 1 && only !== undefined) {
      const { code } = error as { code?: unknown };
      // A statement of ours that is wrong is a fault of ours, not of the data.
      if (typeof code === "string" && code.startsWith("42")) only.reject(error);
      else {only.resolve({
          kind: "invalid",
          reason: sanitizeText((error as Error).message, MESSAGE_BYTES),
        });}
      return;
    }
    const half = Math.ceil(group.length / 2);
    await this.#writeAll(group.slice(0, half));
    await this.#writeAll(group.slice(half));
  }
}

/** What people wrote, as a database can hold it. */
function clean(write: ActivityWrite): ActivityWrite {
  const { message, error, logFirst } = write;
  return {
    ...write,
    ...(message === undefined ? {} : { message: sanitizeText(message, MESSAGE_BYTES) }),
    ...(error === undefined ? {} : { error: sanitizeText(error, ERROR_BYTES) }),
    ...(logFirst === undefined
      ? {}
      : { logFirst: { ...logFirst, message: sanitizeText(logFirst.message, MESSAGE_BYTES) } }),
  };
}
