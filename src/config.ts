/**
 * Configuration: the environment, and names. An option beats the environment, the environment beats the
 * default.
 *
 * @module
 */
import process from "node:process";
import type { Sourced } from "./addresses.ts";
import { ConfigError } from "./errors.ts";
import { show } from "./show.ts";

const NAME = /^[A-Za-z0-9_.-]{1,128}$/;
const NO_NAMES = ["constructor", "prototype", "__proto__"];

/**
 * Refuses what is no name.
 *
 * @param name The name.
 * @param what What it names: "task", "queue" or "pool".
 * @param option The option that it was given as, if it was one.
 * @throws {RangeError} If it is none.
 */
export function checkName(name: string, what: string, option?: string): void {
  if (typeof name !== "string" || !NAME.test(name) || NO_NAMES.includes(name)) {
    throw new RangeError(
      `Cannot use ${show(name)} as ${
        option === undefined ? "" : `option '${option}', `
      }the name of a ${what}: allowed are 1 to 128 letters, digits, ` +
        `'_', '.' and '-', but not ${NO_NAMES.map((each) => `'${each}'`).join(", ")}`,
    );
  }
}

/** A variable's value; undefined where it is unset, empty, or may not be read. */
export function readVariable(name: string): string | undefined {
  try {
    const value = process.env[name];
    return value === "" ? undefined : value;
  } catch (error) {
    // Deno without a grant for this variable: as good as unset. Whoever then misses it names the grant.
    if (error instanceof Error && error.name === "NotCapable") return undefined;
    throw error;
  }
}

/** Which of these this process may not read: whether they are set it cannot know. */
export function unreadableVariables(names: readonly string[]): readonly string[] {
  return names.filter((name) => {
    try {
      void process.env[name];
      return false;
    } catch (error) {
      if (error instanceof Error && error.name === "NotCapable") return true;
      throw error;
    }
  });
}

/** What names the broker, the first that is set. */
export const BROKER_VARIABLES: readonly string[] = [
  "AGENTEXEC_BROKER_URL",
  "AGENTEXEC_REDIS_URL",
  "REDIS_URL",
];
/** What names the database, the first that is set. */
export const DATABASE_VARIABLES: readonly string[] = ["AGENTEXEC_DATABASE_URL", "DATABASE_URL"];

/** The most workers of one pool. */
export const MOST_WORKERS = 1_000;

/** The first of these variables that is set. */
function firstSet(variables: readonly string[]): Sourced | undefined {
  for (const source of variables) {
    const value = readVariable(source);
    if (value !== undefined) return { value, source };
  }
  return undefined;
}

/** What names the broker: the option, else the environment; undefined where nothing does. */
export function findBrokerUrl(option: string | undefined): Sourced | undefined {
  return option === undefined
    ? firstSet(BROKER_VARIABLES)
    : { value: option, source: "option 'brokerUrl'" };
}

/** What names the database: the option, else the environment; undefined where nothing does. */
export function findDatabaseUrl(option: string | undefined): Sourced | undefined {
  return option === undefined
    ? firstSet(DATABASE_VARIABLES)
    : { value: option, source: "option 'databaseUrl'" };
}

/** The messages that the library itself writes into an activity. */
export interface ActivityMessages {
  /** When the task is enqueued. */
  readonly create: string;
  /** When a run starts. */
  readonly started: string;
  /** When the task completes. */
  readonly complete: string;
  /** When it fails; `{error}` stands for the error's text. */
  readonly error: string;
}

/**
 * The configuration that the environment gives. Each member is read, and checked, when it is asked for.
 *
 * @example
 * ```ts
 * import { CONF } from "@agentexec/core";
 *
 * console.log(`${CONF.numWorkers} workers on queue ${CONF.queueName}`);
 * ```
 */
export interface Configuration {
  /** `AGENTEXEC_BROKER_URL`, else `AGENTEXEC_REDIS_URL`, else `REDIS_URL`, as given. */
  readonly brokerUrl: string | undefined;
  /** `AGENTEXEC_DATABASE_URL`, else `DATABASE_URL`, as given. */
  readonly databaseUrl: string | undefined;
  /** `AGENTEXEC_QUEUE_NAME`, else its alias `AGENTEXEC_QUEUE_PREFIX`, default `agentexec_tasks`. */
  readonly queueName: string;
  /** `AGENTEXEC_NUM_WORKERS`, default 4. */
  readonly numWorkers: number;
  /** `AGENTEXEC_GRACEFUL_SHUTDOWN_TIMEOUT`, in whole seconds, default 300. */
  readonly gracefulShutdownTimeout: number;
  /** `AGENTEXEC_TABLE_PREFIX`, default `agentexec_`. */
  readonly tablePrefix: string;
  /** `AGENTEXEC_ACTIVITY_MESSAGE_CREATE`. */
  readonly activityMessageCreate: string;
  /** `AGENTEXEC_ACTIVITY_MESSAGE_STARTED`. */
  readonly activityMessageStarted: string;
  /** `AGENTEXEC_ACTIVITY_MESSAGE_COMPLETE`. */
  readonly activityMessageComplete: string;
  /** `AGENTEXEC_ACTIVITY_MESSAGE_ERROR`; may hold `{error}`. */
  readonly activityMessageError: string;
}

/** A variable of the environment, and what is made of it. */
interface Variable<Value> {
  /** Its name and its aliases: the first that is set counts. */
  readonly names: readonly string[];
  /** Its value, or the default; `given` is undefined where none is set. */
  readonly read: (given: Sourced | undefined) => Value;
}

/** One entry for each member of {@linkcode CONF}. */
const VARIABLES: { readonly [Name in keyof Configuration]: Variable<Configuration[Name]> } = {
  brokerUrl: { names: BROKER_VARIABLES, read: (given) => given?.value },
  databaseUrl: { names: DATABASE_VARIABLES, read: (given) => given?.value },
  // The second is the name that the Python package has for it.
  queueName: { names: ["AGENTEXEC_QUEUE_NAME", "AGENTEXEC_QUEUE_PREFIX"], read: readQueueName },
  numWorkers: {
    names: ["AGENTEXEC_NUM_WORKERS"],
    read: integer({ standard: 4, least: 1, most: MOST_WORKERS }),
  },
  gracefulShutdownTimeout: {
    names: ["AGENTEXEC_GRACEFUL_SHUTDOWN_TIMEOUT"],
    read: integer({ standard: 300, least: 0 }),
  },
  tablePrefix: {
    names: ["AGENTEXEC_TABLE_PREFIX"],
    read: (given) => given === undefined ? "agentexec_" : checkTablePrefix(given),
  },
  activityMessageCreate: text("AGENTEXEC_ACTIVITY_MESSAGE_CREATE", "Waiting to start"),
  activityMessageStarted: text("AGENTEXEC_ACTIVITY_MESSAGE_STARTED", "Task started"),
  activityMessageComplete: text("AGENTEXEC_ACTIVITY_MESSAGE_COMPLETE", "Task completed"),
  activityMessageError: text("AGENTEXEC_ACTIVITY_MESSAGE_ERROR", "Task failed: {error}"),
};

/** Those that hold no address: workers may read them, since a pool's name may hang on one. */
export const HARMLESS_VARIABLES: readonly string[] = Object.values(VARIABLES)
  .flatMap(({ names }) => names === BROKER_VARIABLES || names === DATABASE_VARIABLES ? [] : names);

function readQueueName(given: Sourced | undefined): string {
  if (given === undefined) return "agentexec_tasks";
  try {
    checkName(given.value, "queue");
  } catch (error) {
    throw new ConfigError(`Cannot use ${given.source}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return given.value;
}

/** Reads whole numbers within limits. */
function integer(
  { standard, least, most = Number.MAX_SAFE_INTEGER }: {
    readonly standard: number;
    readonly least: number;
    readonly most?: number;
  },
) {
  return (given: Sourced | undefined): number => {
    if (given === undefined) return standard;
    const number = Number(given.value);
    if (/^\d+$/.test(given.value.trim()) && number >= least && number <= most) return number;
    const range = most === Number.MAX_SAFE_INTEGER
      ? `of at least ${least}`
      : `from ${least} to ${most}`;
    throw new ConfigError(
      `Cannot use ${given.source}: it must be a whole number ${range}, current value is ${
        show(given.value)
      }`,
    );
  };
}

function text(name: string, standard: string): Variable<string> {
  return { names: [name], read: (given) => given?.value ?? standard };
}

/**
 * The configuration that the environment gives, read lazily.
 *
 * @example
 * ```ts
 * import { CONF } from "@agentexec/core";
 *
 * console.log(CONF.numWorkers, CONF.queueName);
 * ```
 */
export const CONF: Configuration = Object.freeze(Object.defineProperties(
  {} as Configuration,
  Object.fromEntries(
    Object.entries<Variable<string | number | undefined>>(VARIABLES).map((
      [name, { names, read }],
    ) => [
      name,
      { get: () => read(firstSet(names)), enumerable: true },
    ]),
  ),
));

/** The messages of the environment, together. */
export function activityMessages(): ActivityMessages {
  return {
    create: CONF.activityMessageCreate,
    started: CONF.activityMessageStarted,
    complete: CONF.activityMessageComplete,
    error: CONF.activityMessageError,
  };
}

/** Refuses a table prefix that is no plain identifier, or would make one that a database keeps for itself. */
export function checkTablePrefix({ value, source }: Sourced): string {
  // The longest name behind it has 32 characters, and Postgres cuts names at 63.
  if (!/^(?!pg_|sqlite_)[a-z_][a-z0-9_]{0,30}$/.test(value)) {
    throw new ConfigError(
      `Cannot use ${source}: a table prefix is 1 to 31 lower-case letters, digits and '_', not beginning with a ` +
        `digit, 'pg_' or 'sqlite_', current value is ${JSON.stringify(value)}`,
    );
  }
  return value;
}
