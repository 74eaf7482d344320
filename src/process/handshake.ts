/**
 * What a supervisor tells a worker over its standard input, a line each, and what the worker answers when
 * it is ready. Passwords travel here and nowhere else: neither in arguments nor in the environment.
 *
 * @module
 */
import type { BrokerAddress, DatabaseAddress } from "../addresses.ts";
import type { ActivityMessages } from "../config.ts";
import type { WorkerSettings } from "./worker_options.ts";

/** The first line: all that a worker is to know, the settings of its pool's {@linkcode WORKER_OPTIONS} among it. */
export interface BootRecord extends WorkerSettings {
  /** The version of this record. Supervisor and worker run the same library, so another one is a mix-up. */
  readonly v: 1;
  /** Who started it. */
  readonly supervisorId: string;
  /** `<supervisorId>/<number>/<spawn>`. */
  readonly workerId: string;
  /** Its number in its pool, from 0. */
  readonly number: number;
  /** The pool's name. */
  readonly pool: string;
  /** The pool's queue. */
  readonly queueName: string;
  /** The names of the supervisor's tasks: what the worker must declare. */
  readonly tasks: readonly string[];
  /** Where the broker is. */
  readonly broker: BrokerAddress;
  /** Where the database is. */
  readonly database: DatabaseAddress;
  /** The prefix of the tables. */
  readonly tablePrefix: string;
  /** The library's own activity messages. */
  readonly messages: ActivityMessages;
  /** How long it tries to reach the stores, in milliseconds; null for as long as it takes. */
  readonly connectMs: number | null;
  /** Names of variables that are set in the supervisor and not granted to the worker. */
  readonly ungranted: readonly string[];
  /** Which way it talks to its supervisor. */
  readonly channel: WorkerChannel;
  /** What it may do, and no more. */
  readonly scope: WorkerScope;
  /** Whether it has to narrow itself to that: a compiled binary. Deno's flags hold any other. */
  readonly narrows: boolean;
}

/**
 * Which way a worker talks to its supervisor, and hears the stop that is meant for all: by the broker's topics, or by
 * its pipes, its messages on standard output in lines that hold `mark`.
 */
export type WorkerChannel =
  | { readonly kind: "broker" }
  | { readonly kind: "pipe"; readonly mark: string };

/** What a worker may do, per kind: all of it, or these entries. A kind that is not named it has not. */
export type WorkerScope = Readonly<Partial<Record<Deno.PermissionName, true | readonly string[]>>>;

/**
 * How a line begins by which a worker says on its standard error that it waits for a store, or that something of the
 * library, and nothing of the program, keeps it from starting. Its name and message follow.
 */
export const WAITING_MARK = "Waiting for a store: ";
export const CANNOT_START_MARK = "Cannot start as a worker: ";

/** The line that ends a worker in good order. */
export const STOP_LINE = "stop";

/** Sent as a log frame is, by a worker that got ready: its message is in a key, this saves the wait for it. */
export const READY_HINT = "ready";

const HOLDS = "holds ";

/** What a worker holds, as a message. Like the hint it saves a wait: the broker is asked for the same once a second. */
export interface HoldsMessage {
  /** `<supervisorId>/<number>/<spawn>`. */
  readonly workerId: string;
  /** The ids of its tasks. */
  readonly ids: readonly string[];
}

/** The message that a worker holds these tasks. */
export function encodeHolds(workerId: string, ids: readonly string[]): string {
  return `${HOLDS}${JSON.stringify({ workerId, ids } satisfies HoldsMessage)}`;
}

/** What a message says that a worker holds; undefined where it is no such message. */
export function decodeHolds(message: string): HoldsMessage | undefined {
  if (!message.startsWith(HOLDS)) return undefined;
  try {
    const { workerId, ids } = JSON.parse(message.slice(HOLDS.length));
    const isWhole = typeof workerId === "string" && Array.isArray(ids) &&
      ids.every((id) => typeof id === "string");
    return isWhole ? { workerId, ids } : undefined;
  } catch {
    // Cut short, or written by something else: the broker knows.
    return undefined;
  }
}

/** What a worker says when it is ready, or cannot be. */
export interface ReadyMessage {
  /** The names of the tasks that its module declares for the pool. */
  readonly tasks: readonly string[];
  /** The names of the pools that its module declares. */
  readonly pools: readonly string[];
  /** The queue of the pool that it found; null where there is none of the name. */
  readonly queueName: string | null;
  /** The stack of the call that became the loop, where the program acted while it was being evaluated. */
  readonly caller: string | null;
}

/** The boot record as a line. */
export function encodeBootRecord(record: BootRecord): string {
  return JSON.stringify(record);
}

/**
 * The boot record of a line.
 *
 * @throws {TypeError} If it is none, as when a program is started with the worker's marker by hand.
 */
export function decodeBootRecord(line: string | undefined): BootRecord {
  let record: unknown;
  try {
    record = JSON.parse(line ?? "");
  } catch (error) {
    throw new TypeError(
      "Cannot start as a worker: the first line of standard input is no boot record; only a pool starts workers",
      { cause: error },
    );
  }
  if (typeof record !== "object" || record === null || (record as { v?: unknown }).v !== 1) {
    throw new TypeError(
      "Cannot start as a worker: the boot record is of another version of the library",
    );
  }
  return record as BootRecord;
}

/** What a worker said when it got ready. */
export function decodeReadyMessage(text: string): ReadyMessage {
  return JSON.parse(text) as ReadyMessage;
}
