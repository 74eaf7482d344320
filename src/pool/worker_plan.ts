/**
 * How a pool's workers are started: the program, its arguments, its environment, and what they are told.
 *
 * @module
 */
import { filesOf } from "../activity/connection.ts";
import {
  type BrokerAddress,
  brokerGrants,
  type DatabaseAddress,
  databaseGrant,
  parseBrokerUrl,
  parseDatabaseUrl,
  sqliteFiles,
} from "../addresses.ts";
import type { ActivityMessages } from "../config.ts";
import { ConfigError } from "../errors.ts";
import { pickSettings } from "../options.ts";
import { denoProgram } from "../process/deno_command.ts";
import { workerEnvironment } from "../process/environment.ts";
import { fromFileUrl, toFileUrl } from "../program/file_url.ts";
import { findConfig, lookForFile } from "../program/project.ts";
import type { BootRecord, WorkerChannel, WorkerScope } from "../process/handshake.ts";
import { permissionFlags, resolveScope, scopeWarnings } from "../process/scope.ts";
import { hasLock, workerArguments } from "../process/worker_command.ts";
import { WORKER_OPTIONS } from "../process/worker_options.ts";
import { WORKER_MARKER } from "../program/role.ts";
import type { PoolSettings } from "./options.ts";

/** How workers are started. */
export interface WorkerPlan {
  /** The program. */
  readonly command: string;
  /** Its arguments. */
  readonly args: readonly string[];
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** The boot record, but for what differs from worker to worker. */
  readonly boot: Omit<BootRecord, "supervisorId" | "workerId" | "number" | "connectMs" | "channel">;
  /** Which way they talk: a file's broker does not write each log frame to the disk. */
  readonly channel: WorkerChannel["kind"];
  /** The module that declares the tasks, as errors show it. */
  readonly entrypoint: string;
  /** The configuration file that the workers run under, if there is one. */
  readonly config: string | undefined;
  /** Whether tasks that only the workers declare are theirs to run (the option `entrypoint`). */
  readonly adoptsTasks: boolean;
  /** How the guardian is started. */
  readonly guardian: { readonly deno: string; readonly standalone: boolean };
  /** What an operator should know of the scope. */
  readonly warnings: readonly string[];
  /** What helps to understand how the workers run. */
  readonly notes: readonly string[];
}

/** What a plan is made from. */
export interface PlanParts {
  /** The pool's settings. */
  readonly settings: PoolSettings;
  /** The supervisor's broker. */
  readonly broker: BrokerAddress;
  /** The supervisor's database. */
  readonly database: DatabaseAddress;
  /** Whether the program makes its connections itself (option `db`). */
  readonly foreignDatabase: boolean;
  /** The prefix of the tables. */
  readonly tablePrefix: string;
  /** The library's own messages. */
  readonly messages: ActivityMessages;
  /** The names of the pool's tasks. */
  readonly tasks: readonly string[];
}

/**
 * Plans the workers of a pool.
 *
 * @throws {ConfigError} If the supervisor lacks a permission, or its main module is no file.
 */
export async function planWorkers(parts: PlanParts): Promise<WorkerPlan> {
  const { settings } = parts;
  const standalone = Deno.build.standalone;
  const broker = workerBroker(parts);
  const database = workerDatabase(parts);
  const scope = resolveScope({ permissions: settings.permissions, cwd: Deno.cwd() });
  const brokerFiles = broker.kind === "sqlite" ? sqliteFiles(broker.path) : [];
  const databaseFiles = filesOf(database);
  const environment = workerEnvironment({ granted: scope.env });
  const needs = {
    net: [
      ...brokerGrants(broker),
      ...settings.brokerHosts,
      ...(database.kind === "postgres" ? [databaseGrant(database)] : []),
    ],
    read: [...brokerFiles, ...databaseFiles.read],
    write: [...brokerFiles, ...databaseFiles.write],
    env: [WORKER_MARKER, ...environment.own],
  };
  const deno = await denoProgram();
  const entrypoint = standalone ? Deno.mainModule : entrypointOf(settings.entrypoint);
  if (!standalone && settings.entrypoint !== undefined) checkThere(entrypoint);
  const config = standalone ? undefined : settings.config ??
    findConfig(new URL(entrypoint), { instead: "name the file in the option 'config'" });
  const args = standalone ? [...Deno.args] : workerArguments({
    entrypoint,
    ...(config === undefined ? {} : { config }),
    locked: config !== undefined && await hasLock(config),
    flags: permissionFlags(scope, needs),
    denoArgs: settings.denoArgs,
    programArgs: Deno.args,
    markerModule: new URL("../program/role.ts", import.meta.url).href,
    workerMain: new URL("../worker/main.ts", import.meta.url).href,
  });
  return {
    command: deno,
    args,
    env: environment.variables,
    entrypoint,
    config,
    channel: broker.kind === "sqlite" ? "pipe" : "broker",
    adoptsTasks: settings.entrypoint !== undefined,
    guardian: { deno, standalone },
    warnings: [
      ...scopeWarnings(scope),
      ...environment.unreadable.map((name) =>
        `permissions.env names ${name}, which this process itself may not read: add --allow-env=${name}`
      ),
      ...environment.unset.map((name) =>
        `permissions.env names ${name}, which is not set here: it reads undefined in the workers`
      ),
      ...environment.unlistable.map((pattern) =>
        `permissions.env names ${pattern}, of which none reaches the workers: this process may not list its variables, ` +
        `start it with --allow-env without a list, or name each variable`
      ),
      ...environment.unpassable.map((name) =>
        `permissions.env names ${name}, which Deno passes on only where this process may run any program`
      ),
    ],
    notes: standalone || config !== undefined ? [] : [
      `There is no deno.json near ${entrypoint}: the workers run without one; if this program has one elsewhere, ` +
      `name it in the option 'config'`,
    ],
    boot: {
      v: 1,
      pool: settings.name,
      queueName: settings.queueName,
      tasks: parts.tasks,
      broker,
      database,
      tablePrefix: parts.tablePrefix,
      messages: parts.messages,
      ...pickSettings(WORKER_OPTIONS, settings),
      ungranted: environment.ungranted,
      scope: wholeScope(scope, needs),
      narrows: standalone,
    },
  };
}

function workerBroker({ settings, broker }: PlanParts): BrokerAddress {
  const value = settings.workerBrokerUrl;
  return value === undefined
    ? broker
    : parseBrokerUrl({ value, source: "option 'workerBrokerUrl'" });
}

function workerDatabase({ settings, database, foreignDatabase }: PlanParts): DatabaseAddress {
  const value = settings.workerDatabaseUrl;
  return value === undefined ? database : parseDatabaseUrl({
    value,
    source: "option 'workerDatabaseUrl'",
  }, { foreign: foreignDatabase });
}

/** The module that the workers evaluate: a file or a remote module, not a text typed at a prompt. */
export function entrypointOf(option: string | undefined): string {
  if (option !== undefined) {
    return URL.canParse(option) && !/^[a-zA-Z]:[\\/]/.test(option)
      ? option
      : new URL(option, toFileUrl(`${Deno.cwd()}/`)).href;
  }
  const main = Deno.mainModule;
  if (/\$deno\$(eval|stdin|repl)/.test(main) || !/^(file|https?):/.test(main)) {
    throw new ConfigError(
      `Cannot start workers of ${main}: the program's main module is no file; set the option 'entrypoint' to the ` +
        `module that declares the pool`,
    );
  }
  return main;
}

/** A module that this process may not look for is found, or missed, by the workers. */
function checkThere(entrypoint: string): void {
  if (!entrypoint.startsWith("file:")) return;
  const path = fromFileUrl(entrypoint);
  if (lookForFile(path) !== "not there") return;
  throw new ConfigError(`Cannot use option 'entrypoint': there is no file ${path}`);
}

type ScopeLists = Parameters<typeof permissionFlags>;

/** What a worker may do, per kind: what it is granted, and what the library needs. */
function wholeScope(scope: ScopeLists[0], needs: ScopeLists[1]): WorkerScope {
  const kept: Record<string, true | readonly string[]> = {};
  for (const kind of ["read", "write", "net", "env", "sys", "run", "ffi"] as const) {
    const granted = scope[kind];
    const needed = kind in needs ? needs[kind as keyof typeof needs] : [];
    if (granted === true) kept[kind] = true;
    else if ((granted?.length ?? 0) + needed.length > 0) {
      kept[kind] = [...new Set([...(granted ?? []), ...needed])];
    }
  }
  return kept;
}
