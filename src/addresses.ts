/**
 * The addresses of the stores: read from their URLs, and shown without their passwords.
 *
 * @module
 */
import process from "node:process";
import { ConfigError } from "./errors.ts";

/** Where the broker is: what a worker is told over its standard input. */
export type BrokerAddress = RedisAddress | SqliteAddress;

/** Where Redis is. */
export interface RedisAddress {
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

/** Where an SQLite file is, of a broker or of a database. */
export interface SqliteAddress {
  /** The kind of store. */
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
      `Cannot use ${source}: ${maskUrl(value)} holds a '%' that encodes nothing, write it as %25`,
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
  const allowed = "redis://[user:password@]host[:port][/database], rediss://… with TLS, and " +
    "sqlite:FILE for one machine";
  if (/^sqlite:/i.test(given.value)) return parseSqliteUrl(given);
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
  if (address.kind === "sqlite") return `sqlite:${address.path}`;
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

/** The files of an SQLite database: all that a process may touch of it. */
export function sqliteFiles(path: string): readonly string[] {
  return [path, `${path}-wal`, `${path}-shm`, `${path}-journal`];
}
