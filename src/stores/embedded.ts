/**
 * The embedded mode: with neither a broker nor a database configured, both are SQLite files beside the program.
 *
 * @module
 */
import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import process from "node:process";
import type { SqliteAddress } from "../addresses.ts";
import {
  BROKER_VARIABLES,
  DATABASE_VARIABLES,
  readVariable,
  unreadableVariables,
} from "../config.ts";
import { ConfigError } from "../errors.ts";
import { fromFileUrl } from "../program/file_url.ts";
import { findConfig, isCompiled, mainModule } from "../program/project.ts";

const FOLDER = ".agentexec";
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** What says that a program is in production. */
const STAGE_VARIABLES = ["AGENTEXEC_ENV", "NODE_ENV"];
/** What to do instead of running embedded. */
export const INSTEAD: string = `set ${BROKER_VARIABLES.at(-1)} and ${DATABASE_VARIABLES.at(-1)}`;

/** What decides whether, and where, a program runs embedded. */
export interface EmbeddedOptions {
  /** The option of the client: true allows it in production too, false nowhere. */
  readonly embedded?: boolean | undefined;
  /** The module that declares the tasks, where it is not the main module. */
  readonly entrypoint?: URL | undefined;
}

/** The two files and their folder. */
export interface EmbeddedStores {
  /** The folder, absolute. */
  readonly folder: string;
  /** Where the tasks wait. */
  readonly broker: SqliteAddress;
  /** Where the activities are kept. */
  readonly database: SqliteAddress;
}

/**
 * Where the embedded stores are. Makes nothing.
 *
 * @throws {ConfigError} If the program may not run embedded, or it cannot be known whether stores are configured.
 */
export function embeddedStores({ embedded, entrypoint }: EmbeddedOptions): EmbeddedStores {
  if (embedded !== true) refuseUnasked(embedded);
  const folder = `${projectFolder(entrypoint)}${FOLDER}`;
  return { folder, broker: fileIn(folder, "broker.db"), database: fileIn(folder, "activity.db") };
}

/** What an operator should know of it, in one line. */
export function describeEmbedded({ folder }: EmbeddedStores): string {
  return `Running embedded, for this machine alone: tasks and activities are in ${folder}; ` +
    `${BROKER_VARIABLES[0]} (or ${BROKER_VARIABLES.at(-1)}) and ${DATABASE_VARIABLES[0]} (or ` +
    `${DATABASE_VARIABLES.at(-1)}) move them to Redis and Postgres`;
}

function fileIn(folder: string, name: string): SqliteAddress {
  const path = `${folder}/${name}`;
  return { kind: "sqlite", url: `sqlite:${path}`, path };
}

function refuseUnasked(embedded: false | undefined): void {
  const production = STAGE_VARIABLES.find((name) => readVariable(name) === "production");
  const why = embedded === false
    ? "the option 'embedded' is false"
    : production !== undefined
    ? `${production} is production`
    : isCompiled()
    ? "this is a compiled program"
    : undefined;
  if (why !== undefined) {
    throw new ConfigError(
      `Cannot find the broker and the database: neither is configured, and the program does not run embedded since ` +
        `${why}; set one of ${BROKER_VARIABLES.join(", ")} (option 'brokerUrl') and one of ` +
        `${DATABASE_VARIABLES.join(", ")} (option 'databaseUrl')` +
        (embedded === false ? "" : `, or allow it by the option 'embedded: true'`),
    );
  }
  const unreadable = unreadableVariables([
    ...BROKER_VARIABLES,
    ...DATABASE_VARIABLES,
    ...STAGE_VARIABLES,
  ]);
  if (unreadable.length === 0) return;
  throw new ConfigError(
    `Cannot tell whether a broker and a database are configured: this process may not read ${
      unreadable.join(", ")
    }; start it with --allow-env=${
      flagOf(unreadable)
    }, or set the options 'brokerUrl' and 'databaseUrl', or ` +
      `'embedded: true'`,
  );
}

/** What to grant so that it can be told whether stores are configured; undefined if that can be told. */
export function unreadableFlag(): string | undefined {
  const names = [...BROKER_VARIABLES, ...DATABASE_VARIABLES, ...STAGE_VARIABLES];
  const unreadable = unreadableVariables(names);
  return unreadable.length === 0 ? undefined : flagOf(unreadable);
}

/** As short as Deno's flag can say it. */
function flagOf(names: readonly string[]): string {
  const own = names.some((name) => name.startsWith("AGENTEXEC_")) ? ["AGENTEXEC_*"] : [];
  return [...own, ...names.filter((name) => !name.startsWith("AGENTEXEC_"))].join(",");
}

/** The folder of the nearest `deno.json`, else of the module; of a program without a file the current one. */
function projectFolder(entrypoint: URL | undefined): string {
  const module = entrypoint ?? mainModule();
  if (module === undefined || module.protocol !== "file:") {
    return `${process.cwd().replace(/\/$/, "")}/`;
  }
  // A search that broke off could end in another folder than that of the project's other programs.
  const config = findConfig(module, { instead: INSTEAD, toTheRoot: true });
  return config?.replace(/[^/]*$/, "") ?? fromFileUrl(new URL(".", module).href);
}

/**
 * Makes the folder and its files where they are not there, for this user alone, whatever the umask: what tasks are
 * given may be nobody else's to read.
 *
 * @throws {ConfigError} If this process may not, by Deno or by the system, or the folder is no folder.
 */
export function prepareEmbedded({ folder, broker, database }: EmbeddedStores): void {
  try {
    makeFolder(folder);
    for (const path of [broker.path, database.path]) makeFile(path, "");
    // So that nobody commits it.
    makeFile(`${folder}/.gitignore`, "*\n");
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // What the system refuses, no flag of Deno's allows.
    const ungranted = error.name === "NotCapable";
    throw new ConfigError(
      `Cannot run embedded in ${folder}: ${error.message}; ` +
        (ungranted ? `start it with --allow-read=${folder} --allow-write=${folder}, or ` : "") +
        INSTEAD,
      { cause: error },
    );
  }
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: FOLDER_MODE });
  } catch (error) {
    if (!isThere(error)) throw error;
    if (!statSync(folder).isDirectory()) {
      throw new ConfigError("a file of this name is in the way", { cause: error });
    }
  }
  setMode(folder, FOLDER_MODE);
}

function makeFile(path: string, content: string): void {
  try {
    writeFileSync(path, content, { flag: "wx", mode: FILE_MODE });
  } catch (error) {
    if (!isThere(error)) throw error;
  }
  setMode(path, FILE_MODE);
}

/** It may have been made by hand, come with a copy of the project, or be half made by a program that was killed. */
function setMode(path: string, mode: number): void {
  if ((statSync(path).mode & 0o777) !== mode) chmodSync(path, mode);
}

function isThere(error: unknown): boolean {
  return error instanceof Error && Reflect.get(error, "code") === "EEXIST";
}
