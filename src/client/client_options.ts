/**
 * The options of a client, and their check at the door.
 *
 * @module
 */
import { parseBrokerUrl, parseDatabaseUrl } from "../addresses.ts";
import { checkName, checkTablePrefix, CONF } from "../config.ts";
import { role } from "../program/role.ts";
import { kindOf } from "../show.ts";
import type { Database } from "../task/context.ts";
import { checkOptions } from "../task/known_options.ts";

/**
 * The options of a {@linkcode Client}. Each beats the environment, which beats the default.
 *
 * @example
 * ```ts
 * import { Client, type ClientOptions } from "@agentexec/core";
 *
 * const options: ClientOptions = {
 *   brokerUrl: "redis://localhost:6379/0",
 *   databaseUrl: "postgres://localhost/agents",
 *   queueName: "research",
 * };
 * const client = new Client(options);
 * await client.close();
 * ```
 */
export interface ClientOptions {
  /**
   * Where the tasks wait: `redis://` or, with TLS, `rediss://`; on one machine also `sqlite:` and a file.
   *
   * @default {AGENTEXEC_BROKER_URL, else AGENTEXEC_REDIS_URL, else REDIS_URL, else embedded}
   */
  readonly brokerUrl?: string | undefined;
  /**
   * Where the activities are kept: `postgres://`, or `sqlite:` and a file.
   *
   * @default {AGENTEXEC_DATABASE_URL, else DATABASE_URL, else embedded}
   */
  readonly databaseUrl?: string | undefined;
  /**
   * Whether the program may run embedded where neither a broker nor a database is configured: for this machine
   * alone, on two SQLite files in `.agentexec/` beside the nearest `deno.json` of its entrypoint. `true` allows it in
   * production and in a compiled program (there in the current folder) too, `false` nowhere.
   *
   * @default {undefined} (it may, unless AGENTEXEC_ENV or NODE_ENV is "production", or the program is compiled)
   */
  readonly embedded?: boolean | undefined;
  /**
   * Makes the Kysely instance that reaches the database, in place of the library: for another driver or
   * other settings. It is called with `databaseUrl`, in each process that connects.
   *
   * @default {undefined} (the library's own driver)
   */
  readonly db?: ((url: string) => Database) | undefined;
  /**
   * The queue of tasks whose definition names none.
   *
   * @default {AGENTEXEC_QUEUE_NAME, else AGENTEXEC_QUEUE_PREFIX, else "agentexec_tasks"; below a worker's handler its pool's queue}
   */
  readonly queueName?: string | undefined;
  /**
   * What the names of the library's tables begin with.
   *
   * @default {AGENTEXEC_TABLE_PREFIX, else "agentexec_"}
   */
  readonly tablePrefix?: string | undefined;
  /**
   * The most bytes of UTF-8 that the JSON of one context, or of one task's metadata, may have.
   *
   * @default {1_048_576}
   */
  readonly maxContextBytes?: number | undefined;
  /**
   * Whether a task's row keeps its context. Without it the context is in the broker alone, is not shown,
   * and is lost with the broker's data.
   *
   * @default {true}
   */
  readonly storeContext?: boolean | undefined;
  /**
   * Members of the metadata that `migrate()` makes an index for, so that filtering by them stays fast.
   *
   * @default {[]}
   */
  readonly metadataIndexes?: readonly string[] | undefined;
}

/** The names of all options of a client, for those whose options are more than these. */
export const CLIENT_OPTIONS: readonly (keyof ClientOptions)[] = [
  "brokerUrl",
  "databaseUrl",
  "embedded",
  "db",
  "queueName",
  "tablePrefix",
  "maxContextBytes",
  "storeContext",
  "metadataIndexes",
];

/** The context limit where none is given: 1 MiB. */
export const DEFAULT_MAX_CONTEXT_BYTES: number = 1024 * 1024;

/**
 * Checks a client's options without connecting.
 *
 * @throws {TypeError | RangeError | ConfigError} If one is unknown or its value is not allowed; the error
 *   names it.
 */
export function checkClientOptions(options: ClientOptions): void {
  checkOptions("make a client", options, CLIENT_OPTIONS);
  checkAddresses(options);
  const { embedded, db, queueName, tablePrefix, maxContextBytes, storeContext, metadataIndexes } =
    options;
  if (embedded !== undefined) checkType("embedded", embedded, "boolean");
  if (db !== undefined) checkType("db", db, "function");
  if (queueName !== undefined) checkName(queueName, "queue", "queueName");
  if (tablePrefix !== undefined) {
    checkType("tablePrefix", tablePrefix, "string");
    checkTablePrefix({ value: tablePrefix, source: "option 'tablePrefix'" });
  } else if (role !== "worker") void CONF.tablePrefix; // Is refused where it is read.
  if (
    maxContextBytes !== undefined && (!Number.isSafeInteger(maxContextBytes) || maxContextBytes < 1)
  ) {
    throw new RangeError(
      `Cannot use option 'maxContextBytes': it must be a whole number of at least 1, current value is ${
        String(maxContextBytes)
      }`,
    );
  }
  if (storeContext !== undefined) checkType("storeContext", storeContext, "boolean");
  if (metadataIndexes !== undefined) checkIndexes(metadataIndexes);
}

function checkAddresses({ brokerUrl, databaseUrl, db }: ClientOptions): void {
  // A worker uses its supervisor's connections, and may not even see what these are made from.
  if (role === "worker") return;
  if (brokerUrl !== undefined) {
    checkType("brokerUrl", brokerUrl, "string");
    parseBrokerUrl({ value: brokerUrl, source: "option 'brokerUrl'" });
  }
  if (databaseUrl !== undefined) {
    checkType("databaseUrl", databaseUrl, "string");
    parseDatabaseUrl({ value: databaseUrl, source: "option 'databaseUrl'" }, {
      foreign: db !== undefined,
    });
  }
}

function checkType(name: string, value: unknown, type: "function" | "string" | "boolean"): void {
  const actual = typeof value;
  if (actual === type) return;
  throw new TypeError(
    `Cannot use option '${name}': it must be a ${type}, current value is ${kindOf(value)}`,
  );
}

function checkIndexes(keys: readonly string[]): void {
  if (!Array.isArray(keys)) {
    throw new TypeError("Cannot use option 'metadataIndexes': it must be an array of names");
  }
  for (const key of keys) {
    if (typeof key === "string" && /^[A-Za-z0-9_.-]{1,64}$/.test(key)) continue;
    throw new RangeError(
      `Cannot use option 'metadataIndexes': a name is 1 to 64 letters, digits, '_', '.' or '-', current ` +
        `value is ${JSON.stringify(key) ?? String(key)}`,
    );
  }
}
