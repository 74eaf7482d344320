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
export type Ground = "embedded" | "on servers" | "on named files";

/** The two that every program is tried on. */
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
  const { env, ...urls } = await storesOn(ground, `${project.folder}/.agentexec`, stack);
  const client = stack.use(new Client(urls));
  const owned = stack.move();
  return { project, env, client, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function storesOn(ground: Ground, folder: string, stack: AsyncDisposableStack) {
  switch (ground) {
    case "embedded":
      return {
        brokerUrl: `sqlite:${folder}/broker.db`,
        databaseUrl: `sqlite:${folder}/activity.db`,
        env: {},
      };
    case "on named files": {
      // The one folder that the programs may write to.
      await Deno.mkdir(folder);
      const urls = {
        brokerUrl: `sqlite:${folder}/tasks.db`,
        databaseUrl: `sqlite:${folder}/agents.db`,
      };
      return {
        ...urls,
        env: { AGENTEXEC_BROKER_URL: urls.brokerUrl, AGENTEXEC_DATABASE_URL: urls.databaseUrl },
      };
    }
    case "on servers": {
      const { url: brokerUrl } = stack.use(await startRedis());
      const { url: databaseUrl } = stack.use(await sharedPostgres().freshDatabase());
      return { brokerUrl, databaseUrl, env: { REDIS_URL: brokerUrl, DATABASE_URL: databaseUrl } };
    }
    default:
      return ground satisfies never;
  }
}

async function filesOf(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for await (const { name, isFile } of Deno.readDir(new URL(folder, CHECKOUT))) {
    if (!isFile) continue;
    files[`${folder}/${name}`] = await Deno.readTextFile(new URL(`${folder}/${name}`, CHECKOUT));
  }
  return files;
}
