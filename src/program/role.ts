/**
 * Which side this process is on, and what a call that would act does in a worker.
 *
 * A worker evaluates the program's module and then the library's loop. Code of the program that acts
 * while it is being evaluated (a `start()` without the `import.meta.main` guard) would do the supervisor's
 * work a second time, so there the first such call becomes the loop and never returns.
 *
 * @module
 */
import process from "node:process";
import type { BrokerAddress, DatabaseAddress } from "../addresses.ts";
import { AgentexecError } from "../errors.ts";

/**
 * Which side of a pool a process is on.
 *
 * @example
 * ```ts
 * import { Pool, type Role } from "@agentexec/core";
 *
 * function greeting(pool: Pool): string {
 *   const role: Role = pool.role;
 *   return role === "worker" ? "at work" : "watching over workers";
 * }
 * ```
 */
export type Role = "supervisor" | "worker";

/** The variable that marks a worker; taken away before the program's own code runs. */
export const WORKER_MARKER = "AGENTEXEC_WORKER";

/** This process's side, known from the first moment. */
export const role: Role = takeMarker();

function takeMarker(): Role {
  try {
    if (process.env[WORKER_MARKER] !== "1") return "supervisor";
    delete process.env[WORKER_MARKER];
    return "worker";
  } catch (error) {
    // A worker is always granted its marker, so a process that may not read it is none.
    if (error instanceof Error && error.name === "NotCapable") return "supervisor";
    throw error;
  }
}

/** The connections of a worker: its supervisor's, whatever the options in its module say. */
export interface WorkerConnections {
  /** Where the broker is. */
  readonly broker: BrokerAddress;
  /** Where the database is. */
  readonly database: DatabaseAddress;
  /** The prefix of the tables. */
  readonly tablePrefix: string;
  /** The pool's queue, the default of a client made in its worker. */
  readonly queueName: string;
}

/** The worker's loop: runs until the process is to end. `caller` is the stack of the call it took over. */
export type WorkerLoop = (options: { readonly caller?: string }) => Promise<void>;

let loop: WorkerLoop | undefined;
let connections: WorkerConnections | undefined;

/** Tells this module what a worker does; called once, when the library is loaded. */
export function provideWorkerLoop(provided: WorkerLoop): void {
  loop = provided;
}

/** Ends the time of declarations: from now on this worker's handlers run, and calls act. */
export function setWorkerConnections(given: WorkerConnections): void {
  connections = given;
}

/** Whether this process is a worker that still evaluates the program: it has not been told where the stores are. */
export function isDeclaring(): boolean {
  return role === "worker" && connections === undefined;
}

/** The connections of a worker that runs; undefined in a supervisor or producer. */
export function workerConnections(): WorkerConnections | undefined {
  return connections;
}

/**
 * To be awaited first by every call that acts. In a supervisor, in a producer, and in a worker whose handlers run it
 * returns at once; in a worker before that it becomes the loop.
 */
export async function beforeActing(): Promise<void> {
  if (role === "supervisor" || connections !== undefined) return;
  await becomeWorker();
}

/**
 * To be awaited first by every call that is a supervisor's alone. In a worker it becomes the loop, also when the loop
 * runs: code that the program left running beside it (a timer, a `main()` that nobody awaits) must not supervise.
 */
export async function beforeSupervising(): Promise<void> {
  if (role === "worker") await becomeWorker();
}

async function becomeWorker(): Promise<void> {
  if (loop === undefined) {
    throw new AgentexecError(
      "Cannot become a worker: no pool of the library is loaded in this process",
    );
  }
  await loop({ caller: new Error("the call that acts").stack ?? "" });
  // The loop is over and the process is about to end; the program's code must not go on.
  await new Promise<never>(() => {});
}
