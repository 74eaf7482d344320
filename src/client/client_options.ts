/**
 * The options of a client, and their check at the door.
 *
 * @module
 */
import { parseBrokerUrl, parseDatabaseUrl } from "../addresses.ts";
import { checkTablePrefix, CONF } from "../config.ts";
import {
  address,
  checkOptions,
  count,
  listOf,
  nameOf,
  none,
  ofType,
  type OptionTable,
  readOptions,
  type Settings,
} from "../options.ts";
import { STANDARD_MAX_BYTES, WORKER_OPTIONS } from "../process/worker_options.ts";
import { role } from "../program/role.ts";
import type { Database } from "../task/context.ts";

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

/** One entry for each option of a client. */
export const CLIENT_TABLE = {
  brokerUrl: { read: address(parseBrokerUrl), standard: none },
  databaseUrl: { read: address(parseDatabaseUrl), standard: none },
  embedded: { read: ofType<boolean>("boolean"), standard: none },
  db: { read: ofType<(url: string) => Database>("function"), standard: none },
  // Below a worker's handler it is the pool's: found out when it is asked for.
  queueName: { read: nameOf("queue"), standard: none },
  tablePrefix: {
    read: tablePrefixOption,
    standard: () => role === "worker" ? undefined : CONF.tablePrefix,
  },
  maxContextBytes: { read: count(), standard: () => STANDARD_MAX_BYTES },
  storeContext: WORKER_OPTIONS.storeContext,
  metadataIndexes: { read: listOf(indexName), standard: () => [] },
} satisfies OptionTable<ClientOptions>;

/** Their names. */
export const CLIENT_OPTIONS: readonly string[] = Object.keys(CLIENT_TABLE);

/** A client's options, checked, with their defaults. */
export type ClientSettings = Settings<typeof CLIENT_TABLE>;

/**
 * Checks a client's options without connecting.
 *
 * @throws {TypeError | RangeError | ConfigError} If one is unknown or its value is not allowed; the error
 *   names it.
 */
export function readClientOptions(options: ClientOptions): ClientSettings {
  checkOptions("make a client", options, CLIENT_OPTIONS);
  // A worker uses its supervisor's connections, and may not even see what these are made from.
  const addresses = role === "worker" ? { brokerUrl: undefined, databaseUrl: undefined } : {};
  return readOptions(CLIENT_TABLE, { ...options, ...addresses });
}

function tablePrefixOption(value: string, name: string): string {
  return checkTablePrefix({
    value: ofType<string>("string")(value, name),
    source: `option '${name}'`,
  });
}

function indexName(key: string, name: string): string {
  if (typeof key === "string" && /^[A-Za-z0-9_.-]{1,64}$/.test(key)) return key;
  throw new RangeError(
    `Cannot use option '${name}': a name is 1 to 64 letters, digits, '_', '.' or '-', current ` +
      `value is ${JSON.stringify(key) ?? String(key)}`,
  );
}
