/**
 * The permissions that a supervisor lacks, told all at once: found one by one, each costs another start.
 *
 * @module
 */
import { INSTEAD, unreadableFlag } from "../stores/embedded.ts";
import type { Stores } from "../stores/stores.ts";
import { ConfigError } from "../errors.ts";
import { missingFlags, type Rights } from "../program/permissions.ts";
import { fromFileUrl } from "../program/file_url.ts";
import { lookForFile } from "../program/project.ts";
import type { PoolSettings } from "./options.ts";
import { entrypointOf } from "./worker_plan.ts";

/**
 * Refuses a start for which this process lacks a permission.
 *
 * @throws {ConfigError} If it lacks one; it names all, as flags to paste.
 */
export async function refuseMissingRights(settings: PoolSettings, stores: Stores): Promise<void> {
  if (Deno.build.standalone) return;
  const own = await missingFlags(await workerRights(settings));
  let rights: Rights;
  try {
    rights = stores.rights;
  } catch (error) {
    const variables = unreadableFlag();
    if (!(error instanceof ConfigError) || (variables === undefined && own.length === 0)) {
      throw error;
    }
    const flags = variables === undefined ? own : [`--allow-env=${variables}`, ...own];
    throw new ConfigError(`${error.message}; in all it needs ${flags.join(" ")}`, { cause: error });
  }
  const needed = await workerRights(settings);
  const flags = await missingFlags({
    ...rights,
    read: [...needed.read ?? [], ...rights.read ?? []],
    run: needed.run ?? [],
  });
  if (flags.length === 0) return;
  const what = `Deno does not allow all that pool '${settings.name}' needs, add ${flags.join(" ")}`;
  const { embeddedFolder } = stores;
  throw new ConfigError(
    embeddedFolder === undefined
      ? `Cannot start workers: ${what}`
      : `Cannot run embedded in ${embeddedFolder}: ${what} (or ${INSTEAD} to move to servers)`,
  );
}

/**
 * Refuses a migration for which this process lacks a permission; what else a start needs is then told too, since a
 * program does both.
 *
 * @throws {ConfigError} If it lacks one.
 */
export async function refuseMissingDatabaseRights(
  settings: PoolSettings,
  stores: Stores,
): Promise<void> {
  let isMissing: boolean;
  try {
    isMissing = (await missingFlags(stores.databaseRights)).length > 0;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    isMissing = true;
  }
  if (isMissing) await refuseMissingRights(settings, stores);
}

/** What starting workers takes, wherever the stores are. */
async function workerRights(settings: PoolSettings): Promise<Rights> {
  return { run: await programs(), read: folders(settings) };
}

async function programs(): Promise<readonly string[]> {
  for (const command of [Deno.execPath(), "deno"]) {
    if ((await Deno.permissions.query({ name: "run", command })).state === "granted") return [];
  }
  return ["deno"];
}

/** The folder in which the program's deno.json is looked for. */
function folders({ entrypoint, config }: PoolSettings): readonly string[] {
  const module = entrypointOf(entrypoint);
  if (config !== undefined || !module.startsWith("file:")) return [];
  const folder = fromFileUrl(new URL(".", module).href);
  return lookForFile(`${folder}deno.json`) === "may not look" ? [folder] : [];
}
