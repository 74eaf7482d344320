/**
 * Both kinds of stores that a pool runs on, for tests of what must hold on each.
 *
 * @module
 */
import { type RedisServer, sharedPostgres, startRedis } from "./servers.ts";

/** Where the stores of a test are: a Redis and a Postgres, or the two files of one machine. */
export type Ground = "servers" | "files";

/** The stores of one test. */
export interface TestStores extends AsyncDisposable {
  /** The broker's address. */
  readonly brokerUrl: string;
  /** The database's address. */
  readonly databaseUrl: string;
  /** The Redis where there is one. */
  readonly redis: RedisServer | undefined;
  /** What a program of the test needs to be granted for them. */
  readonly flags: readonly string[];
}

/** Opens new, empty stores. */
export async function openStores(ground: Ground): Promise<TestStores> {
  return ground === "servers" ? await openServers() : await openFiles();
}

async function openServers(): Promise<TestStores> {
  const redis = await startRedis();
  const database = await sharedPostgres().freshDatabase();
  return {
    brokerUrl: redis.url,
    databaseUrl: database.url,
    redis,
    flags: [],
    async [Symbol.asyncDispose]() {
      await redis[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

async function openFiles(): Promise<TestStores> {
  const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: "agentexec-stores-" }));
  return {
    brokerUrl: `sqlite:${folder}/broker.db`,
    databaseUrl: `sqlite:${folder}/activity.db`,
    redis: undefined,
    flags: [`--allow-write=${folder}`],
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

/** Registers a test on each ground. */
export function onBothGrounds(name: string, body: (ground: Ground) => Promise<void>): void {
  for (const ground of ["servers", "files"] as const) {
    Deno.test(`${name}, on ${ground}`, () => body(ground));
  }
}
