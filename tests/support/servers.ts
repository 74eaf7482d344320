/**
 * Real servers for the tests: private ones that a test may kill, and those that the whole run shares.
 *
 * @module
 */

// @ts-types="@types/pg"
import { Client } from "pg";
import { binary } from "./binaries.ts";
import { ServerProcess } from "./server_process.ts";

/** What every server can be told to do. */
export interface TestServer extends AsyncDisposable {
  /** The port on 127.0.0.1; a restart keeps it. */
  readonly port: number;
  /** The process id of the server that runs now. */
  readonly pid: number;
  /** Its folder, removed with it. */
  readonly dir: string;
  /** What the server has written to its output. */
  output(): Promise<string>;
  /** Ends it as a power cut would; its data stays. */
  kill(): Promise<void>;
  /** Ends it in good order; its data stays. */
  stop(): Promise<void>;
  /** Starts it again on the same port and data. */
  restart(): Promise<void>;
  /** Stops time for it (SIGSTOP): connections stay open and nothing answers. */
  pause(): void;
  /** Lets it go on after `pause()`. */
  resume(): void;
}

/** A private Redis. */
export interface RedisServer extends TestServer {
  /** `redis://127.0.0.1:<port>` */
  readonly url: string;
}

/** What {@linkcode startRedis} may be told. */
export interface RedisOptions {
  /** More arguments of `redis-server`; a later one wins over an earlier one. */
  readonly args?: readonly string[];
}

/** A database of its own on a Postgres server, dropped at the end. */
export interface FreshDatabase extends AsyncDisposable {
  /** `postgres://postgres@127.0.0.1:<port>/<name>` */
  readonly url: string;
  /** The name of the database. */
  readonly name: string;
}

/** Where a test gets databases of its own. */
export interface Databases {
  /** The URL of the server's own database `postgres`, for superuser work such as ending backends. */
  readonly url: string;
  /** Makes an empty database. */
  freshDatabase(): Promise<FreshDatabase>;
}

/** A private Postgres. */
export interface PostgresServer extends TestServer, Databases {}

/** A private PgBouncer in transaction mode. */
export interface PgBouncerServer extends TestServer {
  /** The URL of the same database by way of PgBouncer. */
  readonly url: string;
}

/** The variables by which `tools/test.ts` hands on the servers of the whole run. */
export const SHARED_SERVERS = { redis: "TEST_REDIS_URL", postgres: "TEST_POSTGRES_URL" } as const;

/** Starts a private `redis-server` that writes every command to its append-only file. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const program = await binary("redis-server");
  const server = await ServerProcess.start({
    name: "redis",
    command: (dir, port) => [
      program,
      ...["--port", String(port), "--bind", "127.0.0.1", "--dir", dir],
      ...["--save", "", "--appendonly", "yes", "--enable-debug-command", "local"],
      ...(options.args ?? []),
    ],
    check: checkRedis,
    stopSignal: "SIGTERM",
    emergencySignal: "KILL",
  });
  return Object.assign(server, { url: `redis://127.0.0.1:${server.port}` });
}

/** Starts a private Postgres with a data folder of its own. */
export async function startPostgres(): Promise<PostgresServer> {
  const [initdb, postgres] = [await binary("initdb"), await binary("postgres")];
  const user = asPostgres();
  const server = await ServerProcess.start({
    name: "postgres",
    async prepare(dir) {
      await Deno.mkdir(`${dir}/data`, { mode: 0o700 });
      await giveToPostgres(`${dir}/data`);
      await run([
        ...[...user, initdb, "-D", `${dir}/data`, "-A", "trust", "-U", "postgres"],
        ...["-E", "UTF8", "--no-locale", "--no-sync"],
      ]);
    },
    command: (dir, port) => [
      ...[...user, postgres, "-D", `${dir}/data`, "-p", String(port)],
      ...["-c", "listen_addresses=127.0.0.1", "-c", `unix_socket_directories=${dir}/data`],
      ...["-c", "fsync=off", "-c", "max_connections=200"],
    ],
    check: (port) => withClient(`${postgresUrl(port)}/postgres`, async () => {}),
    stopSignal: "SIGINT", // "Fast shutdown": does not wait for clients to leave.
    emergencySignal: "QUIT", // "Immediate shutdown": the server ends its children, then itself.
  });
  return Object.assign(server, databasesOf(`${postgresUrl(server.port)}/postgres`));
}

/** Starts a private PgBouncer in transaction mode before the database of `postgres://…`. */
export async function startPgBouncer(url: string): Promise<PgBouncerServer> {
  const program = await binary("pgbouncer");
  const user = asPostgres();
  const { hostname, port, username } = new URL(url);
  const server = await ServerProcess.start({
    name: "pgbouncer",
    async prepare(dir) {
      await Deno.writeTextFile(`${dir}/users`, `"${username}" ""\n`);
    },
    command: (dir, listenPort) => [...user, program, `${dir}/${listenPort}.ini`],
    configure: (dir, listenPort) =>
      Deno.writeTextFile(
        `${dir}/${listenPort}.ini`,
        `[databases]\n* = host=${hostname} port=${port}\n[pgbouncer]\n` +
          `listen_addr = 127.0.0.1\nlisten_port = ${listenPort}\nunix_socket_dir =\n` +
          `auth_type = trust\nauth_file = ${dir}/users\npool_mode = transaction\n` +
          `admin_users = ${username}\n` +
          `max_client_conn = 500\ndefault_pool_size = 20\n`,
      ),
    check: (listenPort) => withClient(at(url, listenPort), async () => {}),
    stopSignal: "SIGTERM",
    emergencySignal: "KILL",
  });
  return Object.assign(server, { url: at(url, server.port) });
}

/** The URL of the Redis that the whole run shares: a test uses names that nobody else uses. */
export function sharedRedisUrl(): string {
  return shared(SHARED_SERVERS.redis);
}

/** The Postgres that the whole run shares: a test makes a database of its own in it. */
export function sharedPostgres(): Databases {
  return databasesOf(shared(SHARED_SERVERS.postgres));
}

function shared(variable: string): string {
  const url = Deno.env.get(variable);
  if (url !== undefined) return url;
  throw new Error(
    `Cannot find the servers of this test run: ${variable} is not set, ` +
      `start the tests with: deno task test [files]`,
  );
}

function databasesOf(url: string): Databases {
  return {
    url,
    async freshDatabase() {
      const name = `test_${crypto.randomUUID().replaceAll("-", "")}`;
      await withClient(url, (client) => client.query(`create database ${name}`));
      const own = new URL(url);
      own.pathname = `/${name}`;
      return {
        url: own.href,
        name,
        async [Symbol.asyncDispose]() {
          await withClient(url, (client) => client.query(`drop database ${name} with (force)`));
        },
      };
    },
  };
}

async function withClient(url: string, use: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await use(client);
  } finally {
    await client.end();
  }
}

/** Throws while Redis is still loading its data. */
async function checkRedis(port: number): Promise<void> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode("PING\r\n"));
  const buffer = new Uint8Array(128);
  const answer = new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
  // A server that asks for a password serves too.
  if (!/^(\+PONG|-NOAUTH)/.test(answer)) throw new Error(`Redis answers: ${answer}`);
}

function postgresUrl(port: number): string {
  return `postgres://postgres@127.0.0.1:${port}`;
}

/** The same URL at another port of 127.0.0.1. */
function at(url: string, port: number): string {
  const other = new URL(url);
  other.host = `127.0.0.1:${port}`;
  return other.href;
}

/** Postgres and PgBouncer refuse to run as root: then they run as the user `postgres`. */
function asPostgres(): string[] {
  if (Deno.uid() !== 0) return [];
  return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"];
}

async function giveToPostgres(path: string): Promise<void> {
  if (Deno.uid() === 0) await run(["chown", "postgres:", path]);
}

async function run([program = "", ...args]: readonly string[]): Promise<void> {
  const { code, stderr } = await new Deno.Command(program, { args, stdin: "null", cwd: "/" })
    .output();
  if (code === 0) return;
  throw new Error(`Cannot run ${program}: ${new TextDecoder().decode(stderr)}`);
}
