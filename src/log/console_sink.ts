/**
 * Where the log goes in a program that never configured LogTape: every level to standard output, one record
 * a line, with who said it in front.
 *
 * A program that has a configuration of its own when the first pool starts keeps it, and nothing is written
 * here. One that wants its own must therefore configure before it starts a pool: while ours is in force,
 * `configure()` throws as it does for any second configuration, unless it says `reset: true`, which
 * replaces ours.
 *
 * @module
 */
import {
  type Config,
  configureSync,
  getConfig,
  getLoggers,
  inspectLogger,
  type LogRecord,
  resetSync,
  type Sink,
} from "@logtape/logtape";
import { escapeControls, escapeRecord } from "./escape.ts";
import { prefixOf } from "./prefix.ts";
import { renderMessage } from "./render.ts";
import { LineOutput } from "./stdout.ts";

/** What a console sink needs. */
export interface ConsoleSinkOptions {
  /** Takes the text of one record, newline included. */
  readonly write: (text: string) => void;
  /** Whether warnings and errors are coloured. */
  readonly colour: boolean;
}

interface Installed {
  readonly config: Config<string, string>;
  readonly output: LineOutput;
  readonly flushNow: () => void;
  users: number;
}

/** Ours, while it is in force: LogTape's configuration is one for the whole process, and so is this. */
let installed: Installed | undefined;

/**
 * Configures LogTape where the program has not. Pools that run at the same time share it.
 *
 * @returns Takes it back when the last of them has called it, once all lines have been written.
 */
// deno-lint-ignore require-await -- the configuration must be in place before anybody else can look
export async function ensureDefaultConfig(): Promise<() => Promise<void>> {
  if (installed === undefined || getConfig() !== installed.config) {
    if (isConfigured()) return () => Promise.resolve();
    installed = install();
  }
  const ours = installed;
  ours.users++;
  let undone: Promise<void> | undefined;
  return () => undone ??= release(ours);
}

/** A sink that writes each record as one line, further lines of it indented. */
export function consoleSink({ write, colour }: ConsoleSinkOptions): Sink {
  return (record) => write(`${lineOf(record, colour)}\n`);
}

/**
 * Whether anybody configured LogTape. A program that loaded another version of it has a configuration that
 * this copy's `getConfig()` does not know, but the loggers are shared by all copies.
 */
function isConfigured(): boolean {
  return inspectLogger([]).source !== "unconfigured" ||
    getLoggers().some((logger) => inspectLogger(logger).sinkPaths.length > 0);
}

function install(): Installed {
  const output = new LineOutput({
    output: Deno.stdout,
    describeDropped: (count) =>
      `[Pool] warning: ${count} log records were not written: standard output did not take them in time\n`,
  });
  const colour = Deno.stdout.isTerminal() && !Deno.noColor;
  const config: Config<string, string> = {
    sinks: { console: consoleSink({ write: (text) => output.write(text), colour }) },
    loggers: [
      { category: [], sinks: ["console"], lowestLevel: "trace" },
      { category: ["logtape", "meta"], lowestLevel: "warning" },
    ],
  };
  configureSync(config);
  const flushNow = () => output.flushSync();
  globalThis.addEventListener("unload", flushNow);
  return { config, output, flushNow, users: 0 };
}

async function release(ours: Installed): Promise<void> {
  ours.users--;
  await ours.output.flush();
  if (ours.users > 0) return;
  globalThis.removeEventListener("unload", ours.flushNow);
  if (installed === ours) installed = undefined;
  // The program may have put its own in place meanwhile.
  if (getConfig() === ours.config) resetSync();
}

function lineOf(record: LogRecord, colour: boolean): string {
  const prefix = prefixOf(record);
  const text = escapeRecord(
    `${prefix === undefined ? "" : `[${prefix}] `}${sourceOf(record)}${levelOf(record)}${
      renderMessage(record.message)
    }`,
  );
  return colour ? coloured(text, record) : text;
}

/** The category of a logger that is the program's own. */
function sourceOf({ category }: LogRecord): string {
  if (category[0] === "agentexec" || category.length === 0) return "";
  return `${escapeControls(category.join("."))}: `;
}

/**
 * The level where the text does not show it: a worker's own lines ("Task failed: …") and what comes from
 * `console` and the pipes are written as they are.
 */
function levelOf({ category, level }: LogRecord): string {
  if (level !== "warning" && level !== "error" && level !== "fatal") return "";
  const asItIs = category[0] === "agentexec" && ["worker", "console"].includes(category[1] ?? "");
  return asItIs ? "" : `${level}: `;
}

const RED = "\u001b[31m";
const YELLOW = "\u001b[33m";
const DIM = "\u001b[2m";
const PLAIN = "\u001b[0m";

function coloured(text: string, { level }: LogRecord): string {
  switch (level) {
    case "error":
    case "fatal":
      return `${RED}${text}${PLAIN}`;
    case "warning":
      return `${YELLOW}${text}${PLAIN}`;
    case "trace":
    case "debug":
      return `${DIM}${text}${PLAIN}`;
    case "info":
      return text;
    default:
      return level satisfies never;
  }
}
