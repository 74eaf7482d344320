/**
 * Copies of what this repository runs, each in a project of its own: what a program keeps beside its `deno.json` is
 * then in a temporary folder.
 *
 * @module
 */
import { Client } from "@agentexec/core";
import { CHECKOUT, makeProject, type Project } from "./projects.ts";
import { sharedPostgres, startRedis } from "./servers.ts";

/** Where a program has its tasks and activities, as its environment decides. */
export type Ground = "embedded" | "on servers";

/** Both of them. */
export const GROUNDS: readonly Ground[] = ["embedded", "on servers"];

/** A copy of a folder, and what belongs to it. */
export interface FolderCopy extends AsyncDisposable {
  /** The project that it stands in, with the tasks of this repository's `deno.json`. */
  readonly project: Project;
  /** The variables that name its stores; none where it runs embedded. */
  readonly env: Readonly<Record<string, string>>;
  /** A client on the same stores. */
  readonly client: Client;
}

/** Copies a folder of this repository, and names its stores. */
export async function copyFolder(name: string, ground: Ground): Promise<FolderCopy> {
  await using stack = new AsyncDisposableStack();
  const project = stack.use(await makeProject(await filesOf(name)));
  const servers = ground === "embedded" ? undefined : {
    redis: stack.use(await startRedis()),
    database: stack.use(await sharedPostgres().freshDatabase()),
  };
  const client = stack.use(
    new Client({
      brokerUrl: servers?.redis.url ?? `sqlite:${project.folder}/.agentexec/broker.db`,
      databaseUrl: servers?.database.url ?? `sqlite:${project.folder}/.agentexec/activity.db`,
    }),
  );
  const env: Record<string, string> = servers === undefined
    ? {}
    : { REDIS_URL: servers.redis.url, DATABASE_URL: servers.database.url };
  const owned = stack.move();
  return { project, env, client, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function filesOf(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for await (const { name } of Deno.readDir(new URL(folder, CHECKOUT))) {
    files[`${folder}/${name}`] = await Deno.readTextFile(new URL(`${folder}/${name}`, CHECKOUT));
  }
  return files;
}
