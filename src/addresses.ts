/**
 * The addresses of the stores: read from their URLs, and shown without their passwords.
 *
 * @module
 */
import process from "node:process";
import { domainToASCII } from "node:url";
import { ConfigError } from "./errors.ts";

/** Where the broker is: what a worker is told over its standard input. */
export type BrokerAddress = RedisAddress | SqliteAddress;

/** Where Redis is. */
export interface RedisAddress {
  /** The kind of broker. */
  readonly kind: "redis";
  /** Where it listens. */
  readonly nodes: readonly [RedisNode, ...RedisNode[]];
  /** The user; undefined for the default user. */
  readonly username?: string;
  /** The password. */
  readonly password?: string;
  /** The database number. */
  readonly database: number;
  /** Whether the connection is encrypted, the certificate verified (`rediss://`). */
  readonly tls: boolean;
}

/** One server of a Redis. */
export interface RedisNode {
  /** Its host name or address, without brackets. */
  readonly host: string;
  /** Its port. */
  readonly port: number;
}

/** Where the database is: what a worker is told over its standard input. */
export type DatabaseAddress = PostgresAddress | SqliteAddress;

/** Where Postgres is. */
export interface PostgresAddress {
  /** The kind of database. */
  readonly kind: "postgres";
  /** Its address as given, for the option `db`. */
  readonly url: string;
  /** Its host name or address, without brackets; a folder (`/…`) if it is reached by a Unix socket. */
  readonly host: string;
  /** Its port; of a Unix socket the number that its name ends in. */
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
  /** The file of the client's certificate (`sslcert`). */
  readonly cert?: string;
  /** The file of the client's key (`sslkey`). */
  readonly key?: string;
  /** What the server shall call the connections (`application_name`). */
  readonly applicationName?: string;
  /** The settings that each connection begins with (`options`, `schema`), as `postgres -c` takes them. */
  readonly options?: string;
  /** How long connecting may take, in milliseconds (`connect_timeout`). */
  readonly connectMs?: number;
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

/** The parts of an address `scheme://user:password@host:port/path?query`, as they are written. */
interface Parts {
  readonly scheme: string;
  /** `user:password`; undefined if there is no `@`. */
  readonly login: string | undefined;
  readonly host: string;
  readonly port: string;
  readonly path: string;
  readonly query: string;
}

/** The scheme of an address and all behind its `//`; undefined if it has none. */
function schemeOf(url: string): { readonly scheme: string; readonly rest: string } | undefined {
  const found = /^([a-z][a-z0-9+.-]{0,20}):\/\//i.exec(url);
  if (found === null) return undefined;
  return { scheme: (found[1] ?? "").toLowerCase(), rest: url.slice(found[0].length) };
}

/** What ends the part of an address that names user, password and host. */
function authorityOf(rest: string): string {
  return /^[^/?#]*/.exec(rest)?.[0] ?? "";
}

/**
 * Whether nobody can tell where the password of an address ends: a `#`, `/` or `?` that was not escaped may be its, and
 * what `URL` then takes for host and path is a piece of it.
 */
function isAmbiguous(rest: string): boolean {
  return rest.includes("#") || rest.lastIndexOf("@") > authorityOf(rest).length;
}

/**
 * An address as it may be shown: the password as `***`, and no query. Of an address in which it is not clear where the
 * password ends, nothing behind the user's name. Never throws.
 */
export function maskUrl(url: string): string {
  const text = String(url).trim();
  if (/^sqlite:/i.test(text)) return text.replace(/\?.*$/s, "");
  const found = schemeOf(text);
  if (found === undefined) return "(no URL)";
  const { scheme, rest } = found;
  const at = rest.lastIndexOf("@");
  if (isAmbiguous(rest)) {
    const user = /^([^:@/?#]*):/.exec(rest)?.[1];
    return `${scheme}://${user === undefined ? "…" : `${user}:***`}`;
  }
  // Without an "@", what stands behind a colon may be a password whose host was forgotten.
  if (at < 0) return `${scheme}://${rest.replace(/[:/?].*$/s, "…")}`;
  const [, user, secret] = /^([^:]*)(:?)/.exec(rest.slice(0, at)) ?? [];
  return `${scheme}://${user}${secret === "" ? "" : ":***"}@${
    rest.slice(at + 1).replace(/\?.*$/s, "")
  }`;
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

/** An error about an address, which is shown as far as it may be. */
function refused({ value, source }: Sourced, why: string): ConfigError {
  return new ConfigError(`Cannot use ${source}: ${maskUrl(value)} ${why}`);
}

/**
 * Takes an address apart. Not by `URL`, which takes what it is given for an address whatever it makes of it: it drops
 * tabs and line breaks, and ends a password at the first `/`, `?` or `#`.
 */
function split(given: Sourced, schemes: readonly string[], allowed: string): Parts {
  const value = given.value.trim();
  const found = schemeOf(value);
  if (found === undefined) throw refused(given, `does not parse, allowed are ${allowed}`);
  const { scheme, rest } = found;
  if (isAmbiguous(rest)) {
    throw refused(
      given,
      "holds a character that ends the password or belongs to no address: write # as %23, / as %2F, ? as %3F, and " +
        "@ behind the host as %40",
    );
  }
  if (!schemes.includes(scheme)) throw refused(given, `is not one of ${allowed}`);
  if (!value.isWellFormed()) {
    throw refused(given, "holds half a surrogate pair, which no server can be sent");
  }
  const authority = authorityOf(rest);
  const at = authority.lastIndexOf("@");
  const [path = "", query = ""] = cut(rest.slice(authority.length), "?");
  const [, host, port] = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d*))?$/.exec(authority.slice(at + 1)) ?? [];
  // An empty host is for who allows it to say.
  if (host === undefined || (host !== "" && !URL.canParse(`${scheme}://${host}`))) {
    throw refused(given, `does not parse, allowed are ${allowed}`);
  }
  const login = at < 0 ? undefined : authority.slice(0, at);
  return { scheme, login, host, port: port ?? "", path, query };
}

/** What stands before and behind the first `mark`. */
function cut(text: string, mark: string): readonly [string, string | undefined] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

function decode(part: string, given: Sourced): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw refused(given, "holds a '%' that encodes nothing, write it as %25");
  }
}

/** User and password, each undefined if it is empty. */
function loginOf(
  { login }: Parts,
  given: Sourced,
): readonly [(string | undefined)?, (string | undefined)?] {
  if (login === undefined) return [];
  const [user, password = ""] = cut(login, ":");
  return [decode(user, given) || undefined, decode(password, given) || undefined];
}

function portOf(port: string, standard: number, given: Sourced): number {
  const number = port === "" ? standard : Number(port);
  if (Number.isInteger(number) && number >= 1 && number <= 65_535) return number;
  throw refused(given, "has a port that is not a number from 1 to 65535");
}

/**
 * A host as sockets and Deno's permissions want it: an IPv6 address without its brackets, a name in ASCII. The folder
 * of a socket stays as it is.
 */
function hostOf(text: string, given: Sourced): string {
  const bare = text.replace(/^\[|\]$/g, "");
  if (bare === "" || bare.startsWith("/") || bare.includes(":")) return bare;
  const ascii = asciiHost(bare);
  if (ascii === undefined) throw refused(given, "has a host that is neither a name nor an address");
  return ascii;
}

/** A host's name in ASCII, as it is looked up; undefined for a text that is no name of a host. */
export function asciiHost(name: string): string | undefined {
  const ascii = /[^\0-\x7f]/.test(name) ? domainToASCII(name) : name;
  return /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?$/.test(ascii) ? ascii : undefined;
}

/**
 * The parameters of an address. One that nobody reads is refused: dropped in silence, it would be believed to hold.
 *
 * @throws {ConfigError} If one is unknown, or given twice.
 */
function parametersOf<Name extends string>(
  { query }: Parts,
  given: Sourced,
  known: Readonly<Record<Name, string>>,
): Partial<Record<Name, string>> {
  const found: Partial<Record<Name, string>> = {};
  for (const [name, value] of new URLSearchParams(query)) {
    if (!Object.hasOwn(known, name)) {
      throw refused(
        given,
        `has the unknown parameter '${shownName(name)}', expected one of ${
          Object.entries(known).map(([each, hint]) => `${each}=${hint}`).join(", ")
        }`,
      );
    }
    if (Object.hasOwn(found, name)) throw refused(given, `has the parameter '${name}' twice`);
    found[name as Name] = value;
  }
  return found;
}

/** A parameter's name is no secret unless it is a part of a password that holds a "?". */
function shownName(name: string): string {
  return /^[A-Za-z][A-Za-z0-9_.-]{0,40}$/.test(name) ? name : "…";
}

const REDIS_PARAMETERS = { db: "NUMBER" };

/** Reads a broker's address. */
export function parseBrokerUrl(given: Sourced): BrokerAddress {
  const allowed = "redis://[user:password@]host[:port][/database], rediss://… with TLS, and " +
    "sqlite:FILE for one machine";
  if (isSqlite(given)) return parseSqliteUrl(given);
  const parts = split(given, ["redis", "rediss"], allowed);
  if (parts.host === "") throw refused(given, `is not one of ${allowed}`);
  const [username, password] = loginOf(parts, given);
  const { db } = parametersOf(parts, given, REDIS_PARAMETERS);
  const path = parts.path.replace(/^\//, "");
  for (const number of [path, db ?? ""]) {
    if (!/^\d{0,9}$/.test(number)) {
      throw refused(given, "names a database that is not a number, such as /0");
    }
  }
  if (db !== undefined && (db === "" || (path !== "" && Number(path) !== Number(db)))) {
    throw refused(given, `names two databases, one behind the host and one by 'db'`);
  }
  return {
    kind: "redis",
    nodes: [{ host: hostOf(parts.host, given), port: portOf(parts.port, 6379, given) }],
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    database: Number(db ?? path),
    tls: parts.scheme === "rediss",
  };
}

const SSL_MODES = {
  "disable": "off",
  "no-verify": "no-verify",
  "require": "verify",
  "verify-ca": "verify",
  "verify-full": "verify",
} as const;

/** What may be said of Postgres behind the `?`. */
const POSTGRES_PARAMETERS = {
  host: "NAME or FOLDER of a Unix socket",
  port: "NUMBER",
  sslmode: Object.keys(SSL_MODES).join("|"),
  sslrootcert: "FILE",
  sslcert: "FILE",
  sslkey: "FILE",
  application_name: "NAME",
  connect_timeout: "SECONDS",
  schema: "NAME",
  options: "'-c NAME=VALUE'",
};
type PostgresParameters = Partial<Record<keyof typeof POSTGRES_PARAMETERS, string>>;

/** How a database's address is read. */
export interface DatabaseUrlOptions {
  /**
   * Whether the program makes the connections itself (option `db`): the parameters are then its driver's, and none is
   * refused.
   *
   * @default {false}
   */
  readonly foreign?: boolean;
}

/** Reads a database's address. */
export function parseDatabaseUrl(
  given: Sourced,
  { foreign = false }: DatabaseUrlOptions = {},
): DatabaseAddress {
  const allowed = "postgres://[user:password@]host[:port]/database and sqlite:FILE";
  if (isSqlite(given)) return parseSqliteUrl(given);
  const parts = split(given, ["postgres", "postgresql"], allowed);
  const parameters: PostgresParameters = foreign
    ? Object.fromEntries(new URLSearchParams(parts.query))
    : parametersOf(parts, given, POSTGRES_PARAMETERS);
  const named = parameters.host ?? decode(parts.host, given);
  if (named === "" || (!named.startsWith("/") && /[\s/,@]/.test(named))) {
    throw refused(given, `names no host, or several: allowed are ${allowed}`);
  }
  const host = hostOf(named, given);
  if (parameters.port !== undefined && parts.port !== "" && parameters.port !== parts.port) {
    throw refused(given, "names two ports, one behind the host and one by 'port'");
  }
  const [user, password] = loginOf(parts, given);
  const database = decode(parts.path.replace(/^\//, ""), given);
  if ([user, password, database].some((each) => each?.includes("\0"))) {
    throw refused(given, "holds a NUL, which Postgres does not take");
  }
  return {
    kind: "postgres",
    url: given.value,
    host,
    port: portOf(parameters.port ?? parts.port, 5432, given),
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(database === "" ? {} : { database }),
    ...(foreign ? foreignTls(parameters) : {
      ...tlsOf(host, parameters, given),
      ...settingsOf(parameters, given),
    }),
  };
}

/** Of another driver's address only the files are known, which workers have to read. */
function foreignTls({ sslrootcert, sslcert, sslkey }: PostgresParameters) {
  return { tls: "off" as const, ...present({ ca: sslrootcert, cert: sslcert, key: sslkey }) };
}

function present(files: Readonly<Record<"ca" | "cert" | "key", string | undefined>>) {
  return Object.fromEntries(Object.entries(files).filter(([, file]) => file !== undefined));
}

function tlsOf(
  host: string,
  { sslmode, sslrootcert, sslcert, sslkey }: PostgresParameters,
  given: Sourced,
): Pick<PostgresAddress, "tls" | "ca" | "cert" | "key"> {
  if (sslmode !== undefined && !Object.hasOwn(SSL_MODES, sslmode)) {
    throw refused(given, `has an sslmode that is not one of ${Object.keys(SSL_MODES).join(", ")}`);
  }
  const isSocket = host.startsWith("/");
  const tls = sslmode === undefined
    ? (isSocket || isLoopback(host) ? "off" : "verify")
    : SSL_MODES[sslmode as keyof typeof SSL_MODES];
  if (isSocket && tls !== "off") {
    throw refused(given, `asks for TLS by sslmode=${sslmode}, which a Unix socket does not have`);
  }
  for (const [name, file] of Object.entries({ sslrootcert, sslcert, sslkey })) {
    if (file === undefined) continue;
    if (file === "") throw refused(given, `names no file by '${name}'`);
    if (tls === "off") {
      throw refused(given, `has '${name}' but no TLS, add an sslmode such as verify-full`);
    }
  }
  if (tls === "no-verify" && sslrootcert !== undefined) {
    throw refused(given, "has 'sslrootcert', which sslmode=no-verify does not look at");
  }
  if ((sslcert === undefined) !== (sslkey === undefined)) {
    throw refused(given, "needs both of 'sslcert' and 'sslkey'");
  }
  return { tls, ...present({ ca: sslrootcert, cert: sslcert, key: sslkey }) };
}

/** What each connection begins with. */
function settingsOf(
  { application_name: name, connect_timeout: seconds, schema, options }: PostgresParameters,
  given: Sourced,
): Pick<PostgresAddress, "applicationName" | "options" | "connectMs"> {
  if (seconds !== undefined && !(/^\d{1,4}$/.test(seconds) && Number(seconds) >= 1)) {
    throw refused(
      given,
      "has a connect_timeout that is not a whole number of at least 1 (seconds)",
    );
  }
  for (const [each, value] of Object.entries({ application_name: name, schema, options })) {
    if (value === "" || value?.includes("\0")) {
      throw refused(given, `has an empty '${each}', or one that holds a NUL`);
    }
  }
  // In the words of a command line a blank ends a setting unless a backslash stands before it.
  const path = schema === undefined
    ? undefined
    : `-c search_path=${`"${schema.replaceAll('"', '""')}"`.replaceAll(/[\\\s]/g, "\\$&")}`;
  const all = [options, path].filter((each) => each !== undefined).join(" ");
  return {
    ...(name === undefined ? {} : { applicationName: name }),
    ...(all === "" ? {} : { options: all }),
    ...(seconds === undefined ? {} : { connectMs: Number(seconds) * 1_000 }),
  };
}

function isSqlite({ value }: Sourced): boolean {
  return /^\s*sqlite:/i.test(value);
}

function parseSqliteUrl(given: Sourced): SqliteAddress {
  const rest = given.value.trim().slice("sqlite:".length);
  const [name, query] = cut(rest.startsWith("//") ? rest.slice(2) : rest, "?");
  if (query !== undefined) {
    const parameter = [...new URLSearchParams(query).keys()][0] ?? "";
    throw refused(
      given,
      `has the unknown parameter '${
        shownName(parameter)
      }', expected none; write a ? in a file's name as %3F`,
    );
  }
  if (name === "" || name.includes(":memory:")) {
    throw refused(
      given,
      `must name a file, such as sqlite:data/agentexec.db ` +
        `(":memory:" is refused: the workers are processes of their own)`,
    );
  }
  const path = decode(name, given);
  if (path.includes("\0")) throw refused(given, "holds a NUL, which no file's name does");
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
  const { tls, username, password, database } = address;
  return `${tls ? "rediss" : "redis"}://${showLogin(username, password)}${
    brokerGrants(address).join(",")
  }/${database}`;
}

/** A database's address as it may be shown. */
export function showDatabase(address: DatabaseAddress): string {
  if (address.kind === "sqlite") return `sqlite:${address.path}`;
  const { user, password, host, port, database = "" } = address;
  const login = showLogin(user, password);
  const name = encodeURIComponent(database);
  return host.startsWith("/")
    ? `postgres://${login}/${name}?host=${host}&port=${port}`
    : `postgres://${login}${netAddress(host, port)}/${name}`;
}

function showLogin(user: string | undefined, password: string | undefined): string {
  const name = user === undefined ? "" : encodeURIComponent(user);
  if (password !== undefined) return `${name}:***@`;
  return name === "" ? "" : `${name}@`;
}

/** The Unix socket of a Postgres; undefined if it is reached over the network. */
export function socketOf({ host, port }: PostgresAddress): string | undefined {
  return host.startsWith("/") ? `${host.replace(/\/$/, "")}/.s.PGSQL.${port}` : undefined;
}

/** A host and port as Deno's `--allow-net` wants it. */
export function netAddress(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** What Deno's `--allow-net` wants to know of a broker: nothing of a file. */
export function brokerGrants(address: BrokerAddress): readonly string[] {
  return address.kind === "redis"
    ? address.nodes.map(({ host, port }) => netAddress(host, port))
    : [];
}

/** What Deno's `--allow-net` wants to know of a Postgres. */
export function databaseGrant(address: PostgresAddress): string {
  const socket = socketOf(address);
  return socket === undefined ? netAddress(address.host, address.port) : `unix:${socket}`;
}

/** The files of an SQLite database: all that a process may touch of it. */
export function sqliteFiles(path: string): readonly string[] {
  return [path, `${path}-wal`, `${path}-shm`, `${path}-journal`, holderFile(path)];
}

/** Where who holds the write lock of an SQLite database for long says so. */
export function holderFile(path: string): string {
  return `${path}-holder`;
}
