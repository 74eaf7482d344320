/**
 * Connections to Postgres by `pg`, in the shape that Kysely's own dialect takes: every wait has an end,
 * no error of an idle connection ends the process, and nothing is asked of the environment.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { PostgresPool, PostgresPoolClient, PostgresQueryResult } from "kysely";
// @ts-types="@types/pg"
import { Client, type ClientConfig, Pool, type PoolClient } from "pg";
import { withDeadline } from "../clock.ts";
import type { PostgresAddress } from "../addresses.ts";
import { ConnectionError } from "../errors.ts";
import { DatabaseTimeout } from "./failure.ts";

/** How long making a connection may take. */
const CONNECT_MS = 5_000;
/** How long a pool that is closed waits for what is under way, before it cuts it off. */
const END_MS = 400;
/** How long it then waits for the cut to be noticed. */
const CUT_MS = 150;
/** Who we are, in `pg_stat_activity`. PgBouncer takes this start-up parameter, and no other of ours. */
const APPLICATION_NAME = "agentexec";
/** Who connects where the address names nobody. */
const STANDARD_USER = "postgres";

/** How a pool is made. */
export interface PoolOptions {
  /** How many connections at most. */
  readonly connections: number;
  /** How long a statement may take, in milliseconds; then its connection is cut. */
  readonly statementMs: number;
  /** How long an unused connection is kept, in milliseconds; 0 for ever. */
  readonly idleMs: number;
}

/** A pool of connections for Kysely's `PostgresDialect`. */
export class GuardedPool implements PostgresPool {
  /** What Kysely would make a connection of its own from; it makes none. */
  readonly options: object = {};
  readonly #pool: Pool;
  readonly #clients = new Set<Client>();
  readonly #statementMs: number;
  readonly #waiting = new Set<(error: Error) => void>();
  #ending: Promise<void> | undefined;

  /** Makes no connection. */
  constructor(address: PostgresAddress, options: PoolOptions) {
    this.#statementMs = options.statementMs;
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
    this.#pool.on("error", () => {});
  }

  /** A connection, as soon as one is free. */
  connect(): Promise<PostgresPoolClient> {
    if (this.#ending !== undefined) return Promise.reject(closed());
    return new Promise((resolve, reject) => {
      // A pool that ends forgets those who wait.
      this.#waiting.add(reject);
      this.#pool.connect().then((client) => {
        if (this.#waiting.delete(reject)) resolve(new GuardedClient(client, this.#statementMs));
        else client.release();
      }, (error) => {
        this.#waiting.delete(reject);
        reject(error);
      });
    });
  }

  /** Closes all connections within 0.6 s. */
  end(): Promise<void> {
    return this.#ending ??= this.#end();
  }

  async #end(): Promise<void> {
    for (const reject of this.#waiting) reject(closed());
    this.#waiting.clear();
    let ended = false;
    const ending = this.#pool.end().then(() => {
      ended = true;
    });
    const late = () => new DatabaseTimeout("Cannot close the connections in good order");
    try {
      await withDeadline(ending, { ms: END_MS, error: late });
    } catch (error) {
      if (!(error instanceof DatabaseTimeout)) throw error;
    }
    // A server that does not answer does not take its leave either.
    for (const client of this.#clients) cut(client);
    if (ended) return;
    try {
      await withDeadline(ending, { ms: CUT_MS, error: late });
    } catch (error) {
      // What is left has no socket any more.
      if (!(error instanceof DatabaseTimeout)) throw error;
    }
  }
}

/** One connection in use. */
class GuardedClient implements PostgresPoolClient {
  readonly #client: PoolClient;
  readonly #statementMs: number;
  #broken = false;

  constructor(client: PoolClient, statementMs: number) {
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
    const result = this.#client.query(sql, [...parameters ?? []]);
    return await withDeadline(result, {
      ms: this.#statementMs,
      error: () => {
        // Its end is noticed later: nobody may be given it meanwhile.
        this.#broken = true;
        cut(this.#client);
        return new DatabaseTimeout(
          `a statement was given up since it had not ended after ${this.#statementMs} ms`,
        );
      },
    }) as unknown as PostgresQueryResult<R>;
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
  readonly connection: { readonly stream: { destroy(error?: Error): void } };
}

/**
 * A client that asks the environment for nothing: what is left open in its configuration `pg` looks for
 * in `PG*` variables, and under Deno a variable that is not granted is an error. What nobody wants is
 * therefore given at first, and taken away before it is used.
 */
class PlainClient extends Client {
  constructor(config: ClientConfig) {
    const filled = {
      binary: true,
      options: "none",
      replication: "none",
      sslnegotiation: "postgres",
    };
    super({ ...config, ...filled } as ClientConfig);
    const inside = this as unknown as Inside;
    inside.binary = false;
    inside.replication = undefined;
    inside.connectionParameters.binary = undefined;
    inside.connectionParameters.options = config.options;
    inside.connectionParameters.replication = undefined;
    // A connection that breaks in use says so to its statement; without a listener it would also end the
    // process.
    this.on("error", () => {});
  }
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

function cut(client: Client | PoolClient): void {
  (client as unknown as Inside).connection.stream.destroy();
}

function closed(): ConnectionError {
  return new ConnectionError("Cannot use the database: its connections have been closed", {
    retryable: false,
  });
}
