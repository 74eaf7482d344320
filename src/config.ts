/**
 * Configuration: the environment, the addresses of the stores, and names. An option beats the
 * environment, the environment beats the default.
 *
 * @module
 */
import process from "node:process";
import { ConfigError } from "./errors.ts";

const NAME = /^[A-Za-z0-9_.-]{1,128}$/;
const NO_NAMES = ["constructor", "prototype", "__proto__"];

/**
 * Refuses what is no name.
 *
 * @param name The name.
 * @param what What it names: "task", "queue" or "pool".
 * @throws {RangeError} If it is none.
 */
export function checkName(name: string, what: string): void {
  if (typeof name !== "string" || !NAME.test(name) || NO_NAMES.includes(name)) {
    throw new RangeError(
      `Cannot use ${
        JSON.stringify(name)
      } as the name of a ${what}: allowed are 1 to 128 letters, digits, ` +
        `'_', '.' and '-', but not ${NO_NAMES.map((each) => `'${each}'`).join(", ")}`,
    );
  }
}

/** Where Redis is: what a worker is told over its standard input. */
export interface BrokerAddress {
  /** The kind of broker. */
  readonly kind: "redis";
  /** Its host name or address, without brackets. */
  readonly host: string;
  /** Its port. */
  readonly port: number;
  /** The user; undefined for the default user. */
  readonly username?: string;
  /** The password. */
  readonly password?: string;
  /** The database number. */
  readonly database: number;
  /** Whether the connection is encrypted, the certificate verified (`rediss://`). */
  readonly tls: boolean;
}

/** Where the database is: what a worker is told over its standard input. */
export type DatabaseAddress = PostgresAddress | SqliteAddress;

/** Where Postgres is. */
export interface PostgresAddress {
  /** The kind of database. */
  readonly kind: "postgres";
  /** Its address as given, for the option `db`. */
  readonly url: string;
  /** Its host name or address, without brackets. */
  readonly host: string;
  /** Its port. */
  readonly port: number;
  /** The user. */
  readonly user?: string;
  /** The password. */
  readonly password?: string;
  /** The database's name. */
  readonly database?: string;
  /**
   * `"verify"`: encrypted, certificate and name verified. `"no-verify"`: encrypted only. `"off"`: plain.
   * Without `sslmode` in the address: verified, except for a loopback host, which is plain.
   */
  readonly tls: "verify" | "no-verify" | "off";
  /** The file of the certificate authority (`sslrootcert`). */
  readonly ca?: string;
}

/** Where an SQLite file is. */
export interface SqliteAddress {
  /** The kind of database. */
  readonly kind: "sqlite";
  /** Its address as given, for the option `db`. */
  readonly url: string;
  /** The file, absolute. */
  readonly path: string;
}

/** An address as it may be shown: the password as `***`. Never throws. */
export function maskUrl(url: string): string {
  try {
    const parsed = new URL(url);
    if (parsed.password !== "") parsed.password = "***";
    for (const key of [...parsed.searchParams.keys()]) {
      if (/pass|secret|token|key/i.test(key)) parsed.searchParams.set(key, "***");
    }
    return parsed.href;
  } catch {
    // What does not parse may hold a password anywhere: only its scheme is shown.
    const scheme = /^([a-z][a-z0-9+.-]{0,20}):/i.exec(String(url))?.[1];
    return scheme === undefined ? "(no URL)" : `${scheme}:… (no valid URL)`;
  }
}

/** A value and what it was given as: an option or a variable. */
export interface Sourced {
  /** The value. */
  readonly value: string;
  /** `option 'brokerUrl'` or `REDIS_URL`. */
  readonly source: string;
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;

/** Whether a host is this machine by its very name. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

function parse({ value, source }: Sourced, allowed: string): URL {
  try {
    return new URL(value);
  } catch {
    throw new ConfigError(
      `Cannot use ${source}: ${maskUrl(value)} does not parse, allowed are ${allowed}`,
    );
  }
}

function decode(part: string, { value, source }: Sourced): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new ConfigError(
      `Cannot use ${source}: user or password of ${
        maskUrl(value)
      } hold a '%' that encodes nothing, write it as %25`,
    );
  }
}

function portOf(url: URL, standard: number): number {
  return url.port === "" ? standard : Number(url.port);
}

/** `URL` keeps the brackets of an IPv6 address; sockets want none. */
function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

/** Reads a broker's address. */
export function parseBrokerUrl(given: Sourced): BrokerAddress {
  const allowed = "redis://[user:password@]host[:port][/database] and rediss://… with TLS";
  const url = parse(given, allowed);
  if ((url.protocol !== "redis:" && url.protocol !== "rediss:") || url.hostname === "") {
    throw new ConfigError(
      `Cannot use ${given.source}: ${maskUrl(given.value)} is not one of ${allowed}`,
    );
  }
  const database = url.pathname.replace(/^\//, "");
  if (!/^\d{0,9}$/.test(database)) {
    throw new ConfigError(
      `Cannot use ${given.source}: the database of ${
        maskUrl(given.value)
      } must be a number, such as /0`,
    );
  }
  return {
    kind: "redis",
    host: hostOf(url),
    port: portOf(url, 6379),
    ...(url.username === "" ? {} : { username: decode(url.username, given) }),
    ...(url.password === "" ? {} : { password: decode(url.password, given) }),
    database: database === "" ? 0 : Number(database),
    tls: url.protocol === "rediss:",
  };
}

const SSL_MODES = {
  "disable": "off",
  "no-verify": "no-verify",
  "require": "verify",
  "verify-ca": "verify",
  "verify-full": "verify",
} as const;

/** Reads a database's address. */
export function parseDatabaseUrl(given: Sourced): DatabaseAddress {
  const allowed = "postgres://[user:password@]host[:port]/database and sqlite:FILE";
  if (/^sqlite:/i.test(given.value)) return parseSqliteUrl(given);
  const url = parse(given, allowed);
  if ((url.protocol !== "postgres:" && url.protocol !== "postgresql:") || url.hostname === "") {
    throw new ConfigError(
      `Cannot use ${given.source}: ${maskUrl(given.value)} is not one of ${allowed}`,
    );
  }
  const host = hostOf(url);
  const mode = url.searchParams.get("sslmode");
  if (mode !== null && !Object.hasOwn(SSL_MODES, mode)) {
    throw new ConfigError(
      `Cannot use ${given.source}: sslmode=${mode} is not one of ${
        Object.keys(SSL_MODES).join(", ")
      }`,
    );
  }
  const database = decode(url.pathname.replace(/^\//, ""), given);
  const ca = url.searchParams.get("sslrootcert");
  return {
    kind: "postgres",
    url: given.value,
    host,
    port: portOf(url, 5432),
    ...(url.username === "" ? {} : { user: decode(url.username, given) }),
    ...(url.password === "" ? {} : { password: decode(url.password, given) }),
    ...(database === "" ? {} : { database }),
    tls: mode === null
      ? (isLoopback(host) ? "off" : "verify")
      : SSL_MODES[mode as keyof typeof SSL_MODES],
    ...(ca === null ? {} : { ca }),
  };
}

function parseSqliteUrl(given: Sourced): SqliteAddress {
  const rest = given.value.slice("sqlite:".length);
  const file = rest.startsWith("//") ? rest.slice(2) : rest;
  if (file === "" || file.includes(":memory:") || file.includes("?")) {
    throw new ConfigError(
      `Cannot use ${given.source}: ${
        maskUrl(given.value)
      } must name a file, such as sqlite:data/agentexec.db ` +
        `(":memory:" is refused: the workers are processes of their own)`,
    );
  }
  const path = decode(file, given);
  return {
    kind: "sqlite",
    url: given.value,
    path: path.startsWith("/")
      ? path
      : `${process.cwd().replace(/\/$/, "")}/${path.replace(/^\.\//, "")}`,
  };
}

/** A broker's address as it may be shown. */
export function showBroker(address: BrokerAddress): string {
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  const user = address.username ?? "";
  const who = address.password === undefined ? user : `${user}:***`;
  return `${address.tls ? "rediss" : "redis"}://${
    who === "" ? "" : `${who}@`
  }${host}:${address.port}/${address.database}`;
}

/** A database's address as it may be shown. */
export function showDatabase(address: DatabaseAddress): string {
  return address.kind === "sqlite" ? `sqlite:${address.path}` : maskUrl(address.url);
}

/** A host and port as Deno's `--allow-net` wants it. */
export function netAddress(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** A variable's value; undefined where it is unset, empty, or may not be read. */
export function readVariable(name: string): string | undefined {
  try {
    const value = process.env[name];
    return value === "" ? undefined : value;
  } catch (error) {
    // Deno without a grant for this variable: as good as unset. What is then missing is said by
    // `notConfigured`, which names the grant.
    if (error instanceof Error && error.name === "NotCapable") return undefined;
    throw error;
  }
}

const BROKER_VARIABLES = ["AGENTEXEC_BROKER_URL", "AGENTEXEC_REDIS_URL", "REDIS_URL"];
const DATABASE_VARIABLES = ["AGENTEXEC_DATABASE_URL", "DATABASE_URL"];

function firstOf(option: string | undefined, name: string, variables: readonly string[]): Sourced {
  if (option !== undefined) return { value: option, source: `option '${name}'` };
  for (const variable of variables) {
    const value = readVariable(variable);
    if (value !== undefined) return { value, source: variable };
  }
  throw new ConfigError(
    `Cannot find the ${
      name === "brokerUrl" ? "broker" : "database"
    }: set the option '${name}' or one of the ` +
      `variables ${variables.join(", ")}; under Deno each variable must also be granted, such as ` +
      `--allow-env=${variables.at(-1)}`,
  );
}

/** The broker's address from the option or the environment. */
export function resolveBroker(option: string | undefined): BrokerAddress {
  return parseBrokerUrl(firstOf(option, "brokerUrl", BROKER_VARIABLES));
}

/** The database's address from the option or the environment. */
export function resolveDatabase(option: string | undefined): DatabaseAddress {
  return parseDatabaseUrl(firstOf(option, "databaseUrl", DATABASE_VARIABLES));
}

function integer(variable: string, standard: number, least: number): number {
  const text = readVariable(variable);
  if (text === undefined) return standard;
  const value = Number(text);
  if (!/^\d+$/.test(text.trim()) || !Number.isSafeInteger(value) || value < least) {
    throw new ConfigError(
      `Cannot use ${variable}: it must be a whole number of at least ${least}, current value is ${
        JSON.stringify(text)
      }`,
    );
  }
  return value;
}

/** The messages that the library itself writes into an activity. */
export interface ActivityMessages {
  /** When the task is enqueued. */
  readonly create: string;
  /** When a run starts. */
  readonly started: string;
  /** When the task completes. */
  readonly complete: string;
  /** When it fails; `{error}` stands for the error's text. */
  readonly error: string;
}

/**
 * The configuration that the environment gives. Each member is read, and checked, when it is asked for.
 *
 * @example
 * ```ts
 * import { CONF } from "@agentexec/core";
 *
 * console.log(`${CONF.numWorkers} workers on queue ${CONF.queueName}`);
 * ```
 */
export interface Configuration {
  /** `AGENTEXEC_BROKER_URL`, else `AGENTEXEC_REDIS_URL`, else `REDIS_URL`, as given. */
  readonly brokerUrl: string | undefined;
  /** `AGENTEXEC_DATABASE_URL`, else `DATABASE_URL`, as given. */
  readonly databaseUrl: string | undefined;
  /** `AGENTEXEC_QUEUE_NAME`, default `agentexec_tasks`. */
  readonly queueName: string;
  /** `AGENTEXEC_NUM_WORKERS`, default 4. */
  readonly numWorkers: number;
  /** `AGENTEXEC_GRACEFUL_SHUTDOWN_TIMEOUT`, in whole seconds, default 300. */
  readonly gracefulShutdownTimeout: number;
  /** `AGENTEXEC_TABLE_PREFIX`, default `agentexec_`. */
  readonly tablePrefix: string;
  /** `AGENTEXEC_ACTIVITY_MESSAGE_CREATE`. */
  readonly activityMessageCreate: string;
  /** `AGENTEXEC_ACTIVITY_MESSAGE_STARTED`. */
  readonly activityMessageStarted: string;
  /** `AGENTEXEC_ACTIVITY_MESSAGE_COMPLETE`. */
  readonly activityMessageComplete: string;
  /** `AGENTEXEC_ACTIVITY_MESSAGE_ERROR`; may hold `{error}`. */
  readonly activityMessageError: string;
}

/**
 * The configuration that the environment gives, read lazily.
 *
 * @example
 * ```ts
 * import { CONF } from "@agentexec/core";
 *
 * console.log(CONF.numWorkers, CONF.queueName);
 * ```
 */
export const CONF: Configuration = Object.freeze({
  get brokerUrl() {
    return BROKER_VARIABLES.map(readVariable).find((value) => value !== undefined);
  },
  get databaseUrl() {
    return DATABASE_VARIABLES.map(readVariable).find((value) => value !== undefined);
  },
  get queueName() {
    const name = readVariable("AGENTEXEC_QUEUE_NAME") ?? "agentexec_tasks";
    try {
      checkName(name, "queue");
    } catch (error) {
      throw new ConfigError(`Cannot use AGENTEXEC_QUEUE_NAME: ${(error as Error).message}`, {
        cause: error,
      });
    }
    return name;
  },
  get numWorkers() {
    return integer("AGENTEXEC_NUM_WORKERS", 4, 1);
  },
  get gracefulShutdownTimeout() {
    return integer("AGENTEXEC_GRACEFUL_SHUTDOWN_TIMEOUT", 300, 0);
  },
  get tablePrefix() {
    return checkTablePrefix({
      value: readVariable("AGENTEXEC_TABLE_PREFIX") ?? "agentexec_",
      source: "AGENTEXEC_TABLE_PREFIX",
    });
  },
  get activityMessageCreate() {
    return readVariable("AGENTEXEC_ACTIVITY_MESSAGE_CREATE") ?? "Waiting to start";
  },
  get activityMessageStarted() {
    return readVariable("AGENTEXEC_ACTIVITY_MESSAGE_STARTED") ?? "Task started";
  },
  get activityMessageComplete() {
    return readVariable("AGENTEXEC_ACTIVITY_MESSAGE_COMPLETE") ?? "Task completed";
  },
  get activityMessageError() {
    return readVariable("AGENTEXEC_ACTIVITY_MESSAGE_ERROR") ?? "Task failed: {error}";
  },
});

/** The messages of the environment, together. */
export function activityMessages(): ActivityMessages {
  return {
    create: CONF.activityMessageCreate,
    started: CONF.activityMessageStarted,
    complete: CONF.activityMessageComplete,
    error: CONF.activityMessageError,
  };
}

/** Refuses a table prefix that is no plain identifier. */
export function checkTablePrefix({ value, source }: Sourced): string {
  if (!/^[a-z_][a-z0-9_]{0,30}$/.test(value)) {
    throw new ConfigError(
      `Cannot use ${source}: a table prefix is 1 to 31 lower-case letters, digits and '_', not beginning with a ` +
        `digit, current value is ${JSON.stringify(value)}`,
    );
  }
  return value;
}
