/**
 * The options of a pool, checked once, with their defaults.
 *
 * @module
 */
import { netAddress, parseBrokerUrl, parseDatabaseUrl } from "../addresses.ts";
import { CLIENT_OPTIONS, CLIENT_TABLE, type ClientOptions } from "../client/client_options.ts";
import type { Duration } from "../clock.ts";
import { CONF, MOST_WORKERS } from "../config.ts";
import {
  address,
  count,
  duration,
  listOf,
  nameOf,
  none,
  oneOf,
  type OptionTable,
  readOptions,
  refusal,
  type Settings,
} from "../options.ts";
import { resolveScope } from "../process/scope.ts";
import { WORKER_OPTIONS } from "../process/worker_options.ts";
import { isUrl } from "../program/is_url.ts";
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
   * Whether a run that a stop cuts off goes back to the head of the queue, or is canceled.
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

/** One entry for each option of a pool. */
export const POOL_TABLE = {
  ...CLIENT_TABLE,
  ...WORKER_OPTIONS,
  queueName: { read: nameOf("queue"), standard: () => CONF.queueName },
  name: {
    read: nameOf("pool"),
    standard: ({ queueName }: { readonly queueName: string }) => queueName,
  },
  permissions: { read: permissionsOption, standard: () => ({}) },
  numWorkers: { read: count({ most: MOST_WORKERS }), standard: () => CONF.numWorkers },
  entrypoint: { read: place, standard: none },
  config: { read: filePlace, standard: none },
  denoArgs: { read: listOf(denoArgument), standard: () => [] },
  gracefulShutdownTimeout: {
    read: duration(),
    standard: () => CONF.gracefulShutdownTimeout * 1_000,
    unit: "Ms",
  },
  interrupted: {
    read: oneOf<Interrupted>("requeue", "cancel"),
    standard: (): Interrupted => "requeue",
  },
  sweepInterval: { read: duration({ leastMs: 100 }), standard: () => 5_000, unit: "Ms" },
  startTimeout: { read: duration(), standard: () => 30_000, unit: "Ms" },
  connectTimeout: { read: duration(), standard: () => 30_000, unit: "Ms" },
  crashLimit: { read: count({ most: 1_000 }), standard: () => 3 },
  brokerHosts: { read: listOf(brokerHost), standard: () => [] },
  workerBrokerUrl: { read: address(parseBrokerUrl), standard: none },
  workerDatabaseUrl: { read: address(parseDatabaseUrl), standard: none },
} satisfies OptionTable<PoolOptions>;

/** The names of those that are not its client's. */
export const POOL_OPTIONS: readonly string[] = Object.keys(POOL_TABLE)
  .filter((name) => !CLIENT_OPTIONS.includes(name));

/** A pool's options with their defaults, in milliseconds if they are times. */
export type PoolSettings = Settings<typeof POOL_TABLE>;

/**
 * The settings of options, all of them checked. In a worker only what it is found by counts: the rest is its
 * supervisor's, and may be made from what a worker may not even read.
 *
 * @throws {TypeError} If an option is of the wrong type.
 * @throws {RangeError} If a value is out of range.
 * @throws {ConfigError} If a variable of the environment that stands in for an option is not allowed.
 */
export function readPoolOptions(given: PoolOptions): PoolSettings {
  const { name, queueName, entrypoint } = given;
  return readOptions(POOL_TABLE, role === "worker" ? { name, queueName, entrypoint } : given);
}

/** Checked before anything is opened; relative paths are resolved at the start, where its folder counts. */
function permissionsOption(permissions: Deno.PermissionOptionsObject) {
  resolveScope({ permissions, cwd: "/" });
  return permissions;
}

/** A module or a file: a URL, or a path. */
function place(value: string | URL, name: string): string {
  const text = isUrl(value) ? String(value) : value;
  const isPlace = typeof text === "string" && text !== "" && !text.includes("\0");
  // What begins like a URL is one: as a path it would lead nowhere.
  if (isPlace && (!/^[a-zA-Z][\w+.-]+:\/\//.test(text) || URL.canParse(text))) return text;
  throw new TypeError(refusal(name, "a URL or a path", show(value)));
}

/** A file: a `file:` URL, or a path. Whether it is there is found out at the start. */
function filePlace(value: string | URL, name: string): string {
  const text = place(value, name);
  if (!/^(?!file:)(data:|blob:|npm:|jsr:|[a-zA-Z][\w+.-]+:\/\/)/.test(text)) return text;
  throw new TypeError(refusal(name, "a file, by its path or file: URL", show(value)));
}

/** Permissions come from `permissions` alone, so that what a worker may do is said in one place. */
function denoArgument(argument: string, name: string): string {
  if (typeof argument !== "string" || !/^--[a-z][^\0]*$/.test(argument)) {
    throw new TypeError(
      refusal(name, `an array of long flags such as "--v8-flags=…"`, show(argument)),
    );
  }
  // A permission set is a list of the configuration file, which would be granted besides.
  const permission =
    /^--((allow|deny|ignore)-(all|read|write|net|env|sys|run|ffi|import)|permission-set)\b/;
  if (!permission.test(argument) || argument.startsWith("--allow-import=")) return argument;
  throw new TypeError(
    `Cannot use option '${name}': ${argument} is a permission, say it in the option 'permissions'`,
  );
}

function brokerHost(given: string, name: string): string {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9_.-]+)):(\d{1,5})$/.exec(given);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535) {
    throw new TypeError(refusal(name, `an array of "host:port"`, show(given)));
  }
  return netAddress(match[1] ?? match[2] ?? "", port);
}
