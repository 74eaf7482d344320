/**
 * Why a start failed, in words that say what to change.
 *
 * @module
 */
import { ConnectionError, StartError } from "../errors.ts";
import { ungrantedIn } from "../process/environment.ts";
import { type ExitCause, uncaughtFrom, uncaughtMessage } from "../process/exit_cause.ts";
import { CANNOT_START_MARK, type ReadyMessage, WAITING_MARK } from "../process/handshake.ts";
import { explainDenied } from "../process/scope.ts";
import type { WorkerPlan } from "./worker_plan.ts";
import type { WorkerSlot } from "./worker_slot.ts";

const REMINDER = "what stands outside `if (import.meta.main)` runs in every worker";

/** A worker that declares something else than the supervisor. */
export interface Mismatch {
  /** What differs, and what to change. */
  readonly reason: string;
  /** Whether it has all that the supervisor declares, and more: it then claims tasks. */
  readonly isUsable: boolean;
}

/** What is wrong with what a worker declares; undefined where it is as it should be. */
export function checkReady(message: ReadyMessage, plan: WorkerPlan): Mismatch | undefined {
  const { boot, entrypoint } = plan;
  if (message.queueName === null) {
    const declared = message.pools.length === 0
      ? "none"
      : message.pools.map((name) => `'${name}'`).join(", ");
    const reason =
      `${entrypoint} declares no pool of that name in the workers, it declares ${declared}` +
      (message.caller === null
        ? "; make the pool at the top level of the module, outside `if (import.meta.main)` and of functions that " +
          "nobody awaits there: workers evaluate the module and go on"
        : actedBefore(message));
    return { reason, isUsable: false };
  }
  if (message.queueName !== boot.queueName) {
    const reason = `its queue is '${boot.queueName}', but ${entrypoint} declares it with queue ` +
      `'${message.queueName}'`;
    return { reason, isUsable: false };
  }
  const missing = boot.tasks.filter((name) => !message.tasks.includes(name));
  if (missing.length > 0) {
    const which = missing.length === 1 ? `task '${missing[0]}' is` : `tasks ${quote(missing)} are`;
    const reason = `${which} declared here, but not in the workers, where ${entrypoint} ` +
      `declares ${message.tasks.length === 0 ? "none" : quote(message.tasks)}` +
      (message.caller === null
        ? `; declare it outside \`if (import.meta.main)\``
        : actedBefore(message));
    return { reason, isUsable: false };
  }
  const extra = message.tasks.filter((name) => !boot.tasks.includes(name));
  if (extra.length > 0 && !plan.adoptsTasks) {
    const reason = `the workers declare ${quote(extra)}, which this process does not; declare ` +
      `tasks where every process evaluates them, outside \`if (import.meta.main)\` and of any condition`;
    return { reason, isUsable: true };
  }
  return undefined;
}

function quote(names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(", ");
}

/** A program that acts while it is evaluated ends its declarations there; its stack says where. */
function actedBefore({ caller }: ReadyMessage): string {
  if (caller === null) return "";
  const place = callerPlace(caller);
  return `; they are declared after ${
    place ?? "a call that acts"
  }: move declarations above it, or the call under ` +
    "`if (import.meta.main)`";
}

/** A stack's line in a package of npm, from Deno's cache or a folder of the project's. */
const IN_PACKAGE = /\/node_modules\/|\/npm\/[^/]+\/(?:@[^/]+\/)?[^/]+\/\d+\.\d+\.\d+[^/]*\//;

/** `main.ts:2 (Pool.migrate)`: the first line of a stack that is neither the library's nor a package's. */
export function callerPlace(stack: string): string | undefined {
  const library = new URL("../", import.meta.url).href;
  let called = "";
  for (const line of stack.split("\n").slice(1)) {
    if (line.includes(library) || IN_PACKAGE.test(line)) {
      called = /at (?:async )?(?:new )?([\w.#]+) \(/.exec(line)?.[1] ?? called;
      continue;
    }
    const place = /((?:file|https?):[^\s()]+):(\d+):\d+/.exec(line);
    if (place === null) continue;
    const file = place[1]?.split("/").at(-1);
    return `${file}:${place[2]}${called === "" ? "" : ` (${called})`}`;
  }
  return undefined;
}

/** A worker that died before it was ready. */
export interface EarlyDeath {
  /** Which worker, why, and what to change, on one line. */
  readonly problem: string;
  /** The same, and what the worker wrote last. */
  readonly report: string;
  /** The cause without the worker, to tell whether another one died of the same. */
  readonly cause: string;
  /** Whether the next worker will die of the same: what is missing has been named. */
  readonly isCertain: boolean;
}

/** Describes the death of a worker that was not ready. */
export function describeEarlyDeath(
  number: number,
  cause: ExitCause,
  stderr: string,
  plan: WorkerPlan,
): EarlyDeath {
  const uncaught = uncaughtFrom(stderr);
  const missing = [
    missingGrant(stderr, plan),
    missingCode(stderr, plan),
    missingEntrypoint(stderr, plan),
    missingConfig(stderr, plan),
  ]
    .filter((each) => each !== undefined);
  const said = `${cause.description}${uncaught === undefined ? "" : `: ${uncaught}`}; ${
    missing.length > 0 ? missing.join("; ") : REMINDER
  }`;
  const problem =
    `Cannot start pool '${plan.boot.pool}': Worker ${number} ended before it was ready: ${said}`;
  return { problem, report: problem + tail(stderr), cause: said, isCertain: missing.length > 0 };
}

/** A permission or a variable that the program, or an SDK that it imports, asks for while it is evaluated. */
function missingGrant(stderr: string, { boot }: WorkerPlan): string | undefined {
  const message = uncaughtMessage(stderr);
  const hint = explainDenied(message, { environment: ungrantedIn(message, boot.scope.env) });
  return hint === undefined ? undefined : `workers need it while the program is imported, ${hint}`;
}

/** Without a configuration no import map and no `package.json` is found. */
function missingConfig(stderr: string, { entrypoint, config }: WorkerPlan): string | undefined {
  const unmapped = /not a dependency|Relative import path "[^"]*" not prefixed/.test(stderr);
  if (!unmapped || config !== undefined) return undefined;
  return `the workers run without a deno.json, as there is none near ${entrypoint}: add one there ({} is enough beside ` +
    "a package.json), or name the one that this program was started with in the option 'config' (an import map: " +
    'denoArgs: ["--import-map=FILE"])';
}

/** Workers load what is in the cache and nothing else; whoever names another module has to fetch its code before. */
function missingCode(stderr: string, { entrypoint, config }: WorkerPlan): string | undefined {
  if (!stderr.includes("--cached-only is specified")) return undefined;
  const flag = config === undefined ? "" : ` --config ${config}`;
  return `workers load nothing over the network, fetch the code before: deno install${flag} --entrypoint ${entrypoint}`;
}

/** A module that is named by the option may not be there; the program's own main module is. */
function missingEntrypoint(stderr: string, { entrypoint, adoptsTasks }: WorkerPlan) {
  const isMissing = adoptsTasks && stderr.includes(`Module not found "${entrypoint}"`);
  return isMissing ? "the option 'entrypoint' names no module" : undefined;
}

/** What kept a worker from starting that is no fault of the program's code. */
export interface KeptFromStarting {
  /** Why. */
  readonly message: string;
  /** Whether it is a store that cannot be reached. */
  readonly isConnection: boolean;
}

/** What kept a worker from starting, as the worker itself said it; undefined if it said nothing. */
export function keptFromStarting(stderr: string): KeptFromStarting | undefined {
  const line = lineWith(CANNOT_START_MARK, stderr);
  const parts = line === undefined ? null : /^(\w+): (.*)$/.exec(line);
  if (parts === null) return undefined;
  return { message: parts[2] ?? "", isConnection: parts[1] === "ConnectionError" };
}

/** The last line that begins with a mark, without it. */
function lineWith(mark: string, stderr: string): string | undefined {
  return stderr.split("\n").findLast((line) => line.startsWith(mark))?.slice(mark.length);
}

/** A store that stayed away while the workers started. */
export function describeAway(last: Error, connectMs: number): ConnectionError {
  const why = `within the ${connectMs / 1_000} s of 'connectTimeout': ${last.message}`;
  return lastingOutage(`Cannot start the workers ${why}`, last);
}

/** The error of a store that stayed away for too long. */
export function lastingOutage(message: string, cause?: Error): ConnectionError {
  return new ConnectionError(message, {
    retryable: true,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Workers that were not ready in time. */
export function describeNotReady(slots: readonly WorkerSlot[], startMs: number): StartError {
  const late = slots.filter((slot) => !slot.isReady);
  const numbers = late.map((slot) => `Worker ${slot.number}`).join(", ");
  const stderr =
    late.map((slot) => slot.worker?.child.stderrTail ?? "").find((text) => text !== "") ?? "";
  const start = `Cannot start the pool: ${numbers} not ready within startTimeout (${
    startMs / 1_000
  } s): `;
  const waiting = lineWith(WAITING_MARK, stderr);
  if (waiting !== undefined) return new StartError(`${start}waiting for a store, ${waiting}`);
  return new StartError(
    `${start}the module may wait for something or serve for ever; ${REMINDER}` + tail(stderr),
  );
}

function tail(stderr: string): string {
  return stderr.trim() === "" ? "" : `\n--- what it wrote last ---\n${stderr.trim()}`;
}
