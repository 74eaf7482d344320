/**
 * The library's own lines and the log that a handler is given. What the library says is literal text: a
 * brace in an error's message is a brace, not a placeholder.
 *
 * @module
 */
import { getLogger, type LogLevel, type LogRecord } from "@logtape/logtape";
import { wallClockMs } from "../clock.ts";
import type { TaskLog } from "../task/context.ts";
import { poolPrefix, withPrefix } from "./prefix.ts";

/** Which run a line is about. */
export interface RunFacts {
  /** The task's id. */
  readonly id: string;
  /** The task's name. */
  readonly name: string;
  /** The number of the run. */
  readonly attempt: number;
}

/** Writes lines of literal text. */
export interface LineLogger {
  /** Writes a line for developers. */
  debug(message: string): void;
  /** Writes a line of information. */
  info(message: string): void;
  /** Writes a warning. */
  warn(message: string): void;
  /** Writes an error. */
  error(message: string): void;
}

/** What a line of literal text is made of. */
export interface LogLine {
  /** The category. */
  readonly category: readonly string[];
  /** The level. */
  readonly level: LogLevel;
  /** The text. */
  readonly text: string;
  /** What goes with it. */
  readonly properties: Record<string, unknown>;
  /** Who says it, for the default console sink; undefined in a worker, whose relay knows. */
  readonly prefix?: string;
}

/** Writes one line of literal text. */
export function emitLine({ category, level, text, properties, prefix }: LogLine): void {
  // With a category of its own the record goes to the sinks as it is. Without, LogTape builds a copy from property
  // descriptors, which costs more than all the rest of a record's way (measured: 6 µs).
  const record: LogRecord = {
    category,
    level,
    message: [text],
    rawMessage: text,
    timestamp: wallClockMs(),
    properties,
  };
  getLogger(category).emit(prefix === undefined ? record : withPrefix(record, prefix));
}

/** The log of a worker's own doings. */
export function workerLogger(): LineLogger {
  return lines(["agentexec", "worker"], {});
}

/** The log of what becomes of one run: `Processing task: …`, `Task completed: …`, `Task failed: …`. */
export function taskLogger(run: RunFacts): LineLogger {
  return lines(["agentexec", "worker"], factsOf(run));
}

/** The log of a supervisor's own doings. */
export function supervisorLogger(pool: string): LineLogger {
  return lines(["agentexec", "pool"], { pool }, () => poolPrefix(pool));
}

/**
 * The log that a handler is given. A message with properties is a template whose `{placeholders}` they
 * fill; a message alone is literal text.
 */
export function taskLog(run: RunFacts): TaskLog {
  const category = ["agentexec", "task"];
  const facts = factsOf(run);
  const literal = lines(category, facts);
  const template = getLogger(category);
  return {
    debug: (message, properties) =>
      properties ? template.debug(message, { ...properties, ...facts }) : literal.debug(message),
    info: (message, properties) =>
      properties ? template.info(message, { ...properties, ...facts }) : literal.info(message),
    warn: (message, properties) =>
      properties ? template.warn(message, { ...properties, ...facts }) : literal.warn(message),
    error: (message, properties) =>
      properties ? template.error(message, { ...properties, ...facts }) : literal.error(message),
  };
}

function factsOf({ id, name, attempt }: RunFacts): Record<string, unknown> {
  return { taskName: name, agentId: id, attempt };
}

function lines(
  category: readonly string[],
  properties: Record<string, unknown>,
  prefix?: () => string,
): LineLogger {
  const say = (level: LogLevel, text: string) =>
    emitLine({
      category,
      level,
      text: String(text),
      properties: { ...properties },
      ...(prefix === undefined ? {} : { prefix: prefix() }),
    });
  return {
    debug: (message) => say("debug", message),
    info: (message) => say("info", message),
    warn: (message) => say("warning", message),
    error: (message) => say("error", message),
  };
}
