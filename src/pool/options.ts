/**
 * The options of a pool, checked once, with their defaults.
 *
 * @module
 */
import { type ClientOptions, DEFAULT_MAX_CONTEXT_BYTES } from "../client/client_options.ts";
import { type Duration, toMilliseconds } from "../clock.ts";
import { netAddress, parseBrokerUrl, parseDatabaseUrl, type Sourced } from "../addresses.ts";
import { checkName, CONF } from "../config.ts";
import { isUrl } from "../program/is_url.ts";
import { resolveScope } from "../process/scope.ts";
import { role } from "../program/role.ts";
import { show } from "../show.ts";
import type { Interrupted } from "../task/definition.ts";

/**
 * The options of {@linkcode Pool}: those of a {@linkcode Client}, and what its workers are.
 *
 * @example
 * ```ts
 * import { Pool, type PoolOptions } from "@agentexec/core";
 *
 * const options: PoolOptions = {
 *   queueName: "research",
 *   brokerUrl: "redis://localhost:6379",
 *   databaseUrl: "postgres://localhost/agents",
 *   numWorkers: 8,
 *   permissions: { net: ["api.openai.com"], env: ["OPENAI_API_KEY"] },
 *   gracefulShutdownTimeout: { minutes: 2 },
 * };
 * const pool = new Pool(options);
 * await pool.close();
 * ```
 */
export interface PoolOptions extends ClientOptions {
  /**
   * The pool's name, unique in the program: 1 to 128 letters, digits, `_`, `.` or `-`.
   *
   * @default {the name of its queue}
   */
  readonly name?: string;
  /**
   * What the workers may do, as allow lists: `read`, `write`, `net`, `env`, `sys`, `run`, `ffi`. A kind that
   * is not named is not granted. The addresses of broker and database are granted always.
   *
   * @default {} (nothing else)
   */
  readonly permissions?: Deno.PermissionOptionsObject;
  /**
   * How many worker processes, at least 1.
   *
   * @default {CONF.numWorkers} (`AGENTEXEC_NUM_WORKERS`, else 4)
   */
  readonly numWorkers?: number;
  /**
   * How many tasks one worker runs at once, at least 1. More than one suits handlers that wait for others;
   * what kills one of them kills its neighbours too.
   *
   * @default {1}
   */
  readonly concurrency?: number;
  /**
   * How many connections to the database the handlers of one worker share as `db`, 1 to 1,000; the library's own come
   * on top. One that finds none free for 10 s gets a `ConnectionError`. A transaction holds one from its beginning to
   * its end, and what runs on `db` itself meanwhile needs another. Says nothing of connections that the option `db`
   * makes: those have a number and a limit of their own.
   *
   * @default {2 × concurrency, at most 10}
   */
  readonly databasePoolSize?: number;
  /**
   * The module that declares the pool's tasks in the workers, as a URL or a path.
   *
   * @default {Deno.mainModule}
   */
  readonly entrypoint?: string | URL;
  /**
   * The `deno.json` that the workers run under.
   *
   * @default {the nearest one of the entrypoint}
   */
  readonly config?: string | URL;
  /**
   * Flags of `deno run` that the workers need besides: what the supervisor was started with cannot be read
   * back. `--import-map`, `--unstable-*`, `--v8-flags`, `--cert` and the like; no permissions.
   *
   * @default {[]}
   */
  readonly denoArgs?: readonly string[];
  /**
   * How long a stop waits for running tasks.
   *
   * @default {CONF.gracefulShutdownTimeout} (`AGENTEXEC_GRACEFUL_SHUTDOWN_TIMEOUT`, else 300 seconds)
   */
  readonly gracefulShutdownTimeout?: Duration;
  /**
   * What becomes of a run that a stop cuts off: back to the head of the queue, or canceled.
   *
   * @default {"requeue"}
   */
  readonly interrupted?: Interrupted;
  /**
   * How long a claim holds without being renewed. Supervisors renew every second; this is how long it takes
   * others to notice that a whole host died.
   *
   * @default {seconds: 30}
   */
  readonly lease?: Duration;
  /**
   * How often this supervisor looks for claims that lapsed anywhere.
   *
   * @default {seconds: 5}
   */
  readonly sweepInterval?: Duration;
  /**
   * How long `start()` waits for all workers to be ready.
   *
   * @default {seconds: 30}
   */
  readonly startTimeout?: Duration;
  /**
   * How long `start()` goes on trying to reach the broker and the database.
   *
   * @default {seconds: 30}
   */
  readonly connectTimeout?: Duration;
  /**
   * How many times the process may die while a task's handler runs in it; then the task ends in an error.
   *
   * @default {3}
   */
  readonly crashLimit?: number;
  /**
   * The most bytes of UTF-8 that the JSON of one result may have; a larger one fails its task.
   *
   * @default {1_048_576}
   */
  readonly maxResultBytes?: number;
  /**
   * Further addresses (`host:port`) of the broker that a failover may send a client to.
   *
   * @default {[]}
   */
  readonly brokerHosts?: readonly string[];
  /**
   * The broker's address for the workers, such as one with a user of fewer rights.
   *
   * @default {the supervisor's}
   */
  readonly workerBrokerUrl?: string;
  /**
   * The database's address for the workers, such as one with a user of fewer rights.
   *
   * @default {the supervisor's}
   */
  readonly workerDatabaseUrl?: string;
}

/** The most connections of one worker's handlers where the program says nothing: a server has a hundred in all. */
const STANDARD_POOL_SIZE = 10;

/** The options of a pool that are not its client's. */
export const POOL_OPTIONS: readonly (keyof PoolOptions)[] = [
  "name",
  "permissions",
  "numWorkers",
  "concurrency",
  "databasePoolSize",
  "entrypoint",
  "config",
  "denoArgs",
  "gracefulShutdownTimeout",
  "interrupted",
  "lease",
  "sweepInterval",
  "startTimeout",
  "connectTimeout",
  "crashLimit",
  "maxResultBytes",
  "brokerHosts",
  "workerBrokerUrl",
  "workerDatabaseUrl",
];

/** A pool's own options with their defaults, in milliseconds where they are times. */
export interface PoolSettings {
  /** The pool's name. */
  readonly name: string;
  /** Its queue. */
  readonly queueName: string;
  /** What its workers may do. */
  readonly permissions: Deno.PermissionOptionsObject;
  /** How many workers. */
  readonly numWorkers: number;
  /** How many tasks one of them runs at once. */
  readonly concurrency: number;
  /** How many connections its handlers share. */
  readonly databasePoolSize: number;
  /** The module that declares the tasks. */
  readonly entrypoint: string | undefined;
  /** The configuration file. */
  readonly config: string | undefined;
  /** Further flags. */
  readonly denoArgs: readonly string[];
  /** How long a stop waits. */
  readonly gracefulShutdownMs: number;
  /** What becomes of a run that a stop cuts off. */
  readonly interrupted: Interrupted;
  /** The lease. */
  readonly leaseMs: number;
  /** Between two sweeps. */
  readonly sweepMs: number;
  /** How long workers may take to be ready. */
  readonly startMs: number;
  /** How long to try to reach the stores. */
  readonly connectMs: number;
  /** How many crashes end a task. */
  readonly crashLimit: number;
  /** The most bytes of a result. */
  readonly maxResultBytes: number;
  /** Further addresses of the broker. */
  readonly brokerHosts: readonly string[];
  /** The workers' own broker address. */
  readonly workerBrokerUrl: string | undefined;
  /** The workers' own database address. */
  readonly workerDatabaseUrl: string | undefined;
}

/**
 * The settings of options, all of them checked. In a worker only what it is found by counts: the rest is its
 * supervisor's, and may be made from what a worker may not even read.
 *
 * @throws {TypeError} If an option is of the wrong type.
 * @throws {RangeError} If a value is out of range.
 * @throws {ConfigError} If a variable of the environment that stands in for an option is not allowed.
 */
export function resolvePoolOptions(given: PoolOptions): PoolSettings {
  const queueName = given.queueName ?? CONF.queueName;
  if (given.name !== undefined) checkName(given.name, "pool", "name");
  const name = given.name ?? queueName;
  const options: PoolOptions = role === "worker" ? {} : given;
  const duration = (option: keyof PoolOptions, standardMs: number) => {
    const value = options[option] as Duration | undefined;
    return value === undefined ? standardMs : toMilliseconds(value, option);
  };
  const concurrency = count("concurrency", options.concurrency, 10_000, 1);
  return {
    name,
    queueName,
    permissions: permissionsOption(options.permissions),
    numWorkers: options.numWorkers === undefined
      ? count("AGENTEXEC_NUM_WORKERS", CONF.numWorkers, 1_000)
      : count("numWorkers", options.numWorkers, 1_000),
    concurrency,
    databasePoolSize: count(
      "databasePoolSize",
      options.databasePoolSize,
      1_000,
      Math.min(2 * concurrency, STANDARD_POOL_SIZE),
    ),
    entrypoint: place("entrypoint", given.entrypoint),
    config: filePlace("config", options.config),
    denoArgs: denoArguments(options.denoArgs),
    gracefulShutdownMs: options.gracefulShutdownTimeout === undefined
      ? CONF.gracefulShutdownTimeout * 1_000
      : duration("gracefulShutdownTimeout", 0),
    interrupted: interruptedOption(
      options.interrupted === undefined ? "requeue" : options.interrupted,
    ),
    leaseMs: atLeast("lease", duration("lease", 30_000), 2_000),
    sweepMs: atLeast("sweepInterval", duration("sweepInterval", 5_000), 100),
    startMs: duration("startTimeout", 30_000),
    connectMs: duration("connectTimeout", 30_000),
    crashLimit: count("crashLimit", options.crashLimit, 1_000, 3),
    maxResultBytes: count(
      "maxResultBytes",
      options.maxResultBytes,
      2 ** 30,
      DEFAULT_MAX_CONTEXT_BYTES,
    ),
    brokerHosts: list("brokerHosts", options.brokerHosts).map(brokerHost),
    workerBrokerUrl: address("workerBrokerUrl", options.workerBrokerUrl, parseBrokerUrl),
    workerDatabaseUrl: address(
      "workerDatabaseUrl",
      options.workerDatabaseUrl,
      (sourced) => parseDatabaseUrl(sourced, { foreign: options.db !== undefined }),
    ),
  };
}

function count(
  option: string,
  value: number | undefined,
  most: number,
  standard?: number,
): number {
  const number = value === undefined ? standard : value;
  if (typeof number !== "number" || !Number.isInteger(number) || number < 1 || number > most) {
    throw new RangeError(
      `Cannot use '${option}': it must be a whole number from 1 to ${most}, current value is ${
        show(value)
      }`,
    );
  }
  return number;
}

/** Checked before anything is opened; relative paths are resolved at the start, where its folder counts. */
function permissionsOption(
  permissions: Deno.PermissionOptionsObject | undefined,
): Deno.PermissionOptionsObject {
  if (permissions === undefined) return {};
  resolveScope({ permissions, cwd: "/" });
  return permissions;
}

/** A module or a file: a URL, or a path. */
function place(option: string, value: string | URL | undefined): string | undefined {
  if (value === undefined) return undefined;
  const text = isUrl(value) ? String(value) : value;
  const isPlace = typeof text === "string" && text !== "" && !text.includes("\0");
  // What begins like a URL is one: as a path it would lead nowhere.
  if (isPlace && (!/^[a-zA-Z][\w+.-]+:\/\//.test(text) || URL.canParse(text))) return text;
  throw new TypeError(
    `Cannot use '${option}': it must be a URL or a path, current value is ${show(value)}`,
  );
}

/** A file: a `file:` URL, or a path. Whether it is there is found out at the start. */
function filePlace(option: string, value: string | URL | undefined): string | undefined {
  const text = place(option, value);
  if (text === undefined || !/^(?!file:)(data:|blob:|npm:|jsr:|[a-zA-Z][\w+.-]+:\/\/)/.test(text)) {
    return text;
  }
  throw new TypeError(
    `Cannot use '${option}': it must be a file, by its path or file: URL, current value is ${
      show(value)
    }`,
  );
}

function list(option: string, value: readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  if (Array.isArray(value)) return value;
  throw new TypeError(
    `Cannot use '${option}': it must be a list of texts, current value is ${show(value)}`,
  );
}

function address(
  option: string,
  value: string | undefined,
  parse: (sourced: Sourced) => unknown,
): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string") {
    throw new TypeError(
      `Cannot use option '${option}': it must be a string, current value is ${show(value)}`,
    );
  }
  parse({ value, source: `option '${option}'` });
  return value;
}

function atLeast(option: string, ms: number, least: number): number {
  if (ms < least) {
    throw new RangeError(
      `Cannot use '${option}': it must be at least ${least} ms, current value is ${ms} ms`,
    );
  }
  return ms;
}

/** Refuses anything but the two things that can become of a run that was cut off. */
export function interruptedOption(value: Interrupted): Interrupted {
  if (value !== "requeue" && value !== "cancel") {
    throw new TypeError(
      `Cannot use 'interrupted': it must be "requeue" or "cancel", current value is ${show(value)}`,
    );
  }
  return value;
}

/** Permissions come from `permissions` alone, so that what a worker may do is said in one place. */
function denoArguments(given: readonly string[] | undefined): readonly string[] {
  const checked = list("denoArgs", given);
  for (const argument of checked) {
    if (typeof argument !== "string" || !/^--[a-z][^\0]*$/.test(argument)) {
      throw new TypeError(
        `Cannot use 'denoArgs': each must be a long flag such as "--v8-flags=…", current value is ` +
          show(argument),
      );
    }
    // A permission set is a list of the configuration file, which would be granted besides.
    const permission =
      /^--((allow|deny|ignore)-(all|read|write|net|env|sys|run|ffi|import)|permission-set)\b/;
    if (permission.test(argument)) {
      if (argument.startsWith("--allow-import=")) continue;
      throw new TypeError(
        `Cannot use 'denoArgs': ${argument} is a permission, say it in the option 'permissions'`,
      );
    }
  }
  return checked;
}

function brokerHost(given: string): string {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9_.-]+)):(\d{1,5})$/.exec(given);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw new TypeError(
      `Cannot use 'brokerHosts': each must be "host:port", current value is ${show(given)}`,
    );
  }
  return netAddress(match[1] ?? match[2] ?? "", port);
}
