/**
 * Everything that a worker's program logs, led to its supervisor: LogTape as a whole, and `console`.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { Console } from "node:console";
import { Writable } from "node:stream";
import { type Config, configure, type LogLevel } from "@logtape/logtape";
import { emitLine, workerLogger } from "./loggers.ts";
import type { LogPublisher } from "./publisher.ts";
import { inspectSafely } from "./values.ts";

/**
 * Makes the publisher this process's only sink, for every logger of the program and at every level:
 * which of them are written, and where, is the supervisor's to say. A configuration that the program made
 * while it was evaluated is taken back.
 */
export async function takeOverLogging(publisher: LogPublisher): Promise<void> {
  const config: Config<string, string> = {
    reset: true,
    sinks: { supervisor: publisher.sink },
    loggers: [
      { category: [], sinks: ["supervisor"], lowestLevel: "trace" },
      { category: ["logtape", "meta"], lowestLevel: "warning" },
    ],
    contextLocalStorage: new AsyncLocalStorage<Record<string, unknown>>(),
  };
  try {
    await configure(config);
  } catch (error) {
    // A sink of the program failed while it was disposed of. It is gone now, and the second time nothing fails.
    await configure(config);
    workerLogger().warn(`A sink that the program had configured failed: ${inspectSafely(error)}`);
  }
  // What ends the process without its loop knowing, `Deno.exit()` in a handler or an unhandled rejection,
  // takes the last lines with it unless they are written now.
  for (const event of ["unload", "error", "unhandledrejection"]) {
    globalThis.addEventListener(event, () => publisher.spill());
  }
}

/** The methods of `console` and the level that each one's text gets. */
const LEVELS = {
  log: "info",
  info: "info",
  debug: "debug",
  warn: "warning",
  error: "error",
  trace: "trace",
  dir: "info",
  dirxml: "info",
  table: "info",
  group: "info",
  groupCollapsed: "info",
  groupEnd: "info",
  count: "info",
  countReset: "warning",
  time: "warning",
  timeLog: "info",
  timeEnd: "info",
  assert: "error",
} as const satisfies Record<string, LogLevel>;

type Method = keyof typeof LEVELS;

const CATEGORY = ["agentexec", "console"];

/**
 * Turns what `console` is told into log records, with the current run's facts; nothing of it reaches
 * standard output or error. The returned function gives `console` back.
 */
export function captureConsole(): () => void {
  const original = { ...console };
  let level: LogLevel = "info";
  let emitting = false;
  const emit = (text: string) => {
    emitting = true;
    try {
      emitLine({ category: CATEGORY, level, text: text.replace(/\n$/, ""), properties: {} });
    } finally {
      emitting = false;
    }
  };
  // Writes within the call, so that `level` is the level of the method that made the text.
  const stream = new Writable({
    decodeStrings: false,
    write: (text, _encoding, done) => {
      emit(String(text));
      done();
    },
  });
  const formatter = new Console({ stdout: stream, stderr: stream, colorMode: false });
  for (const method of Object.keys(LEVELS) as Method[]) {
    // deno-lint-ignore rooms/no-console -- replaced, not written to
    console[method] = (...args: unknown[]) => {
      // A sink that the program made in this worker and that itself writes to `console`.
      if (emitting) return Reflect.apply(original[method], console, args);
      level = LEVELS[method];
      try {
        Reflect.apply(formatter[method], formatter, args);
      } catch {
        // A value whose own inspection throws; what can be shown of it is.
        emit(
          args.map((value) => typeof value === "string" ? value : inspectSafely(value)).join(" "),
        );
      }
    };
  }
  return () => {
    Object.assign(console, original);
  };
}
