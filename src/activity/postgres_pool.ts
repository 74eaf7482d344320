/**
 * Connections to Postgres by `pg`, in the shape that Kysely's own dialect takes: every wait has an end,
 * no error of an idle connection ends the process, and nothing is asked of the environment.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import type { PostgresPool, PostgresPoolClient, PostgresQueryResult } from "kysely";
// @ts-types="@types/pg"
import { Client, type ClientConfig, Connection, Pool, type PoolClient } from "pg";
import { after, settlesWithin, withDeadline } from "../clock.ts";
import { type PostgresAddress, showDatabase } from "../addresses.ts";
import { ConnectionError } from "../errors.ts";
import { type Acquire, noneFree } from "./acquire.ts";
import { DatabaseTimeout } from "./failure.ts";
import { POSTGRES_CANCEL_MS, POSTGRES_CUT_MS, POSTGRES_END_MS } from "../stop_budget.ts";

/** How long making a connection may take. */
const CONNECT_MS = 5_000;
/** How long a statement that is given up waits until the server has been asked to cancel it, and again for its end. */
const CANCEL_MS = 1_000;
/**
 * What each connection begins with. Dates as `pg` reads them: the program's own statements would be given null for those
 * that a role or a database words otherwise.
 */
const STARTUP = { DateStyle: "ISO" };
/** Who we are, in `pg_stat_activity`. PgBouncer takes this start-up parameter, as it does the date style. */
const APPLICATION_NAME = "agentexec";
/** Who connects where the address names nobody. */
const STANDARD_USER = "postgres";

/** How a pool is made. */
export interface PoolOptions {
  /** How many connections at most. */
  readonly connections: number;
  /** How long a statement may take, in milliseconds; then the server is asked to cancel it, and its connection is cut. */
  readonly statementMs: number;
  /** How long an unused connection is kept, in milliseconds; 0 for ever. */
  readonly idleMs: number;
  /** How a connection is waited for; undefined for as long as the statements before it take. */
  readonly acquire?: Acquire | undefined;
  /** Told when a connection that nobody was using is lost. */
  readonly onIdleLoss?: (() => void) | undefined;
}

/** A pool of connections for Kysely's `PostgresDialect`. */
export class GuardedPool implements PostgresPool {
  /** What Kysely would make a connection of its own from; it makes none. */
  readonly options: object = {};
  readonly #pool: Pool;
  readonly #clients = new Set<PlainClient>();
  readonly #address: PostgresAddress;
  readonly #options: PoolOptions;
  readonly #waiting = new Set<(error: Error) => void>();
  #ending: Promise<void> | undefined;

  /** Makes no connection. */
  constructor(address: PostgresAddress, options: PoolOptions) {
    this.#address = address;
    this.#options = options;
    const clients = this.#clients;
    const config = configOf(address);
    class OwnClient extends PlainClient {
      constructor() {
        super(config);
        clients.add(this);
        this.once("end", () => clients.delete(this));
      }
    }
    this.#pool = new Pool({
      max: options.connections,
      idleTimeoutMillis: options.idleMs,
      Client: OwnClient,
    });
    // The pool has thrown the connection away already; the next statement gets another.
    this.#pool.on("error", () => {
      if (this.#ending === undefined) options.onIdleLoss?.();
    });
  }

  /** A connection, as soon as one is free. */
  connect(): Promise<PostgresPoolClient> {
    if (this.#ending !== undefined) return Promise.reject(closed());
    return new Promise((resolve, reject) => {
      let stop = () => {};
      const fail = (error: Error) => {
        stop();
        this.#waiting.delete(fail);
        reject(error);
      };
      // A pool that ends forgets those who wait.
      this.#waiting.add(fail);
      const { acquire, connections } = this.#options;
      if (acquire !== undefined) {
        const address = showDatabase(this.#address);
        stop = after(acquire.ms, () => fail(noneFree(acquire, { address, connections })));
      }
      this.#pool.connect().then((client) => {
        stop();
        if (this.#waiting.delete(fail)) {
          const { statementMs } = this.#options;
          resolve(new GuardedClient(client as PoolClient & PlainClient, statementMs));
        } else client.release();
      }, fail);
    });
  }

  /** Closes all connections within half a second. */
  end(): Promise<void> {
    return this.#ending ??= this.#end();
  }

  async #end(): Promise<void> {
    for (const fail of [...this.#waiting]) fail(closed());
    let ended = false;
    const ending = this.#pool.end().then(() => {
      ended = true;
    });
    const late = () => new DatabaseTimeout("Cannot close the connections in good order");
    try {
      await withDeadline(ending, { ms: POSTGRES_END_MS, error: late });
    } catch (error) {
      if (!(error instanceof DatabaseTimeout)) throw error;
    }
    // Nobody waits for their answers any more, and a server does not notice by itself that nobody does.
    const busy = [...this.#clients].filter((client) => client.busy);
    await Promise.all(busy.map((client) => client.cancelStatement(POSTGRES_CANCEL_MS)));
    // A server that does not answer does not take its leave either.
    for (const client of this.#clients) client.cut();
    if (ended) return;
    try {
      await withDeadline(ending, { ms: POSTGRES_CUT_MS, error: late });
    } catch (error) {
      // What is left has no socket any more.
      if (!(error instanceof DatabaseTimeout)) throw error;
    }
  }
}

/** One connection in use. */
class GuardedClient implements PostgresPoolClient {
  readonly #client: PoolClient & PlainClient;
  readonly #statementMs: number;
  #broken = false;

  constructor(client: PoolClient & PlainClient, statementMs: number) {
    this.#client = client;
    this.#statementMs = statementMs;
  }

  query<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query(): never;
  async query<R>(
    sql?: string,
    parameters?: readonly unknown[],
  ): Promise<PostgresQueryResult<R>> {
    if (typeof sql !== "string") throw new TypeError("Cannot stream: no cursor is configured");
    // A transaction whose statement was given up is rolled back by the end of its connection.
    if (this.#broken) throw new DatabaseTimeout("the connection was given up with its statement");
    const client = this.#client;
    client.busy = true;
    const result = client.query(sql, [...parameters ?? []]);
    let givenUp: DatabaseTimeout | undefined;
    try {
      return await withDeadline(result, {
        ms: this.#statementMs,
        error: () =>
          givenUp = new DatabaseTimeout(
            `a statement was given up since it had not ended after ${this.#statementMs} ms`,
          ),
      }) as unknown as PostgresQueryResult<R>;
    } catch (error) {
      if (givenUp !== undefined) await this.#giveUp(result);
      throw error;
    } finally {
      client.busy = false;
    }
  }

  /**
   * Cutting the connection alone would leave the statement on the server, where it goes on waiting for its lock, or
   * working. The connection stays until the statement has ended: a pooler knows by it which statement is meant.
   */
  async #giveUp(result: Promise<unknown>): Promise<void> {
    // The cancel may come late and hit what runs then: nobody may be given this connection again.
    this.#broken = true;
    await this.#client.cancelStatement(CANCEL_MS);
    await settlesWithin(result, CANCEL_MS);
    this.#client.cut();
  }

  release(destroy?: boolean): void {
    this.#client.release(this.#broken || destroy);
  }
}

/** What of a `pg` client has no types. */
interface Inside {
  binary: boolean;
  replication: undefined;
  readonly connectionParameters: {
    binary?: undefined;
    options?: string | undefined;
    replication?: undefined;
  };
  getStartupConf: () => Record<string, unknown>;
  readonly connection: Connection & InsideConnection;
  readonly processID: number | null;
  readonly secretKey: number | null;
}

/** What of a `pg` connection has no types. */
interface InsideConnection {
  readonly stream: Duplex;
  connect(portOrPath: number | string, host?: string): void;
  requestSsl(): void;
  cancel(processID: number, secretKey: number): void;
}

/**
 * A client that asks the environment for nothing: what is left open in its configuration `pg` looks for
 * in `PG*` variables, and under Deno a variable that is not granted is an error. What nobody wants is
 * therefore given at first, and taken away before it is used.
 */
class PlainClient extends Client {
  /** Whether a statement is under way. */
  busy = false;
  readonly #config: ClientConfig;

  constructor(config: ClientConfig) {
    const filled = {
      binary: true,
      options: "none",
      replication: "none",
      sslnegotiation: "postgres",
    };
    super({ ...config, ...filled } as ClientConfig);
    this.#config = config;
    const inside = this as unknown as Inside;
    inside.binary = false;
    inside.replication = undefined;
    inside.connectionParameters.binary = undefined;
    inside.connectionParameters.options = config.options;
    inside.connectionParameters.replication = undefined;
    const startup = inside.getStartupConf.bind(this);
    inside.getStartupConf = () => ({ ...startup(), ...STARTUP });
    reportThrown(inside.connection);
    // A connection that breaks in use says so to its statement; without a listener it would also end the
    // process.
    this.on("error", () => {});
  }

  /** Ends the connection without a word. */
  cut(): void {
    (this as unknown as Inside).connection.stream.destroy();
  }

  /**
   * Asks the server to cancel the statement under way, over a connection of its own as the protocol has it, encrypted
   * as the first one is. Resolves when the server has taken note, cannot be reached or has taken too long; never rejects.
   */
  cancelStatement(withinMs: number): Promise<void> {
    const { processID, secretKey } = this as unknown as Inside;
    // A connection that is still being made runs no statement.
    if (processID === null || secretKey === null) return Promise.resolve();
    const { host = "", port = 0, ssl } = this.#config;
    const connection = new Connection({ ssl } as object) as Connection & InsideConnection;
    reportThrown(connection);
    return new Promise((resolve) => {
      const done = () => {
        stop();
        connection.stream.destroy();
        resolve();
      };
      const stop = after(withinMs, done);
      // The server closes the connection once it has passed the request on.
      connection.once("end", done);
      // An outage ends the statement by itself.
      connection.on("error", done);
      const cancel = () => connection.cancel(processID, secretKey);
      connection.once("connect", () => ssl ? connection.requestSsl() : cancel());
      connection.once("sslconnect", cancel);
      if (host.startsWith("/")) connection.connect(`${host}/.s.PGSQL.${port}`);
      else connection.connect(port, host);
    });
  }
}

/**
 * Lets a connection say by its event what its socket throws, as Deno's does for a Unix socket that is not granted: `pg`
 * would report it, and five seconds later end the process by an error that nobody listens for.
 */
function reportThrown(connection: Connection & InsideConnection): void {
  const connect = connection.connect.bind(connection);
  connection.connect = (portOrPath, host) => {
    try {
      connect(portOrPath, host);
    } catch (error) {
      queueMicrotask(() => connection.emit("error", error));
    }
  };
}

function configOf(address: PostgresAddress): ClientConfig {
  const user = address.user ?? STANDARD_USER;
  const { password = "" } = address;
  return {
    host: address.host,
    port: address.port,
    user,
    database: address.database ?? user,
    // A function, since for an empty string `pg` would look for a file of passwords.
    password: () => password,
    ssl: tlsOf(address),
    application_name: address.applicationName ?? APPLICATION_NAME,
    client_encoding: "utf8",
    ...(address.options === undefined ? {} : { options: address.options }),
    connectionTimeoutMillis: address.connectMs ?? CONNECT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  };
}

function tlsOf(address: PostgresAddress): ClientConfig["ssl"] {
  const { cert, key } = address;
  const own = {
    ...(cert === undefined ? {} : { cert: readFileSync(cert, "utf8") }),
    ...(key === undefined ? {} : { key: readFileSync(key, "utf8") }),
  };
  switch (address.tls) {
    case "off":
      return false;
    case "no-verify":
      return { rejectUnauthorized: false, ...own };
    case "verify":
      return {
        rejectUnauthorized: true,
        ...own,
        ...(isIP(address.host) === 0 ? { servername: address.host } : {}),
        ...(address.ca === undefined ? {} : { ca: Buffer.from(readFileSync(address.ca)) }),
      };
    default:
      return address.tls satisfies never;
  }
}

function closed(): ConnectionError {
  return new ConnectionError("Cannot use the database: its connections have been closed", {
    retryable: false,
  });
}
