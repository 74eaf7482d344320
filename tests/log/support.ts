/**
 * Both ends of the log in one process: a publisher whose frames a relay gets, and what LogTape was given.
 *
 * @module
 */
import { configureSync, type LogRecord, resetSync } from "@logtape/logtape";
import { LogPublisher, type LogPublisherOptions } from "../../src/log/publisher.ts";

/** A record as a logger of a worker would make it. */
export function recordOf(text: string, more: Partial<LogRecord> = {}): LogRecord {
  return {
    category: ["agentexec", "worker"],
    level: "info",
    message: [text],
    rawMessage: text,
    timestamp: 1_700_000_000_000,
    properties: {},
    ...more,
  };
}

/** The text of a record whose message has no values. */
export function textOf(record: LogRecord): string {
  return record.message.map(String).join("");
}

/** What LogTape got while it is open. */
export interface Collected extends Disposable {
  /** The records. */
  readonly records: LogRecord[];
  /** Their texts. */
  readonly texts: () => string[];
}

/** Configures LogTape as a program would, with a sink that keeps what it gets. */
export function collectRecords(): Collected {
  const records: LogRecord[] = [];
  configureSync({
    reset: true,
    sinks: { kept: (record) => records.push(record) },
    loggers: [
      { category: [], sinks: ["kept"], lowestLevel: "trace" },
      { category: ["logtape", "meta"], lowestLevel: "warning" },
    ],
  });
  return {
    records,
    texts: () => records.map(textOf),
    [Symbol.dispose]: () => resetSync(),
  };
}

/** A broker's channel that can be held back, refuse, and lose. */
export interface Channel {
  /** What arrived. */
  readonly frames: string[];
  /** How many publishes were tried. */
  tries: number;
  /** What becomes of the next publishes. */
  state: "up" | "refuses" | "hangs" | "loses";
  /** Publishes a frame. */
  readonly publish: (message: string) => Promise<void>;
  /** Lets hanging publishes go through. */
  release(): void;
}

/** A channel; `onFrame` gets each frame that arrives. */
export function channel(onFrame: (message: string) => void = () => {}): Channel {
  const frames: string[] = [];
  let held: (() => void)[] = [];
  const arrive = (message: string) => {
    frames.push(message);
    onFrame(message);
  };
  const self: Channel = {
    frames,
    tries: 0,
    state: "up",
    publish: (message) => {
      self.tries++;
      switch (self.state) {
        case "refuses":
          return Promise.reject(new TypeError("the broker is away"));
        case "hangs":
          return new Promise((resolve) => {
            held.push(() => {
              arrive(message);
              resolve();
            });
          });
        case "loses":
          return Promise.resolve();
        case "up":
          arrive(message);
          return Promise.resolve();
        default:
          return self.state satisfies never;
      }
    },
    release: () => {
      self.state = "up";
      const all = held;
      held = [];
      for (const each of all) each();
    },
  };
  return self;
}

/** A publisher of Worker 0 on a channel, and the lines that went to its standard error. */
export function publisherOn(
  { publish }: Pick<Channel, "publish">,
  options: Partial<LogPublisherOptions> = {},
): { readonly publisher: LogPublisher; readonly stderr: string[] } {
  const stderr: string[] = [];
  const publisher = new LogPublisher({
    workerId: "supervisor/0/1",
    number: 0,
    pid: 4711,
    publish,
    fallback: (line) => stderr.push(line),
    ...options,
  });
  return { publisher, stderr };
}
