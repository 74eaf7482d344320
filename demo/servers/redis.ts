/**
 * A private Redis that writes down every command, so that what waits survives its end.
 *
 * @module
 */
import { binary } from "../../tests/support/binaries.ts";
import { freePort } from "../../tests/support/ports.ts";
import type { Place, Server, ServerKind } from "./place.ts";

const READY = "Ready to accept connections";
const TAKEN = "Address already in use";
const PORTS_TO_TRY = 5;

/** Redis. */
export const redis: ServerKind = {
  name: "Redis",

  async findRunning(place) {
    const port = await readPort(place);
    // Another program may have the port by now: only ours knows the password.
    if (port === null || !(await command(port, place, "PING")).startsWith("+PONG")) return null;
    return { url: urlOf(port, place), stop: () => shutDown(port, place) };
  },

  async start(place) {
    await Deno.mkdir(`${place.folder}/redis`, { recursive: true });
    for (let attempt = 1;; attempt++) {
      const port = freePort();
      const { server, output } = await launch(port, place);
      if (server !== null) return server;
      if (attempt < PORTS_TO_TRY && output.includes(TAKEN)) continue;
      throw new Error(`Cannot start Redis: it ended\n${output}`);
    }
  },
};

/** Starts it in a process group of its own, which Ctrl+C does not reach. */
async function launch(
  port: number,
  place: Place,
): Promise<{ readonly server: Server | null; readonly output: string }> {
  const child = new Deno.Command("sh", {
    args: ["-c", 'exec "$@" 2>&1', "sh", await binary("redis-server"), "-"],
    cwd: "/",
    stdin: "piped",
    stdout: "piped",
    detached: true,
  }).spawn();
  const config = [
    `bind 127.0.0.1`,
    `port ${port}`,
    `requirepass ${place.password}`,
    `dir ${JSON.stringify(`${place.folder}/redis`)}`,
    `appendonly yes`,
    `save ""`,
  ];
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(`${config.join("\n")}\n`));
  await writer.close();
  const lines = new Lines(child.stdout);
  if (!(await lines.seen(READY))) {
    await child.status;
    return { server: null, output: lines.text };
  }
  await Deno.writeTextFile(portFile(place), String(port));
  async function stop(): Promise<void> {
    await shutDown(port, place);
    await child.status;
    await lines.ended;
  }
  return { server: { url: urlOf(port, place), stop }, output: lines.text };
}

/** What a server writes: always read, since a full pipe would stop it. */
class Lines {
  /** Resolves when the server has closed it. */
  readonly ended: Promise<void>;
  /** All of it. */
  text = "";
  #onText = () => {};

  constructor(stream: ReadableStream<Uint8Array>) {
    this.ended = this.#read(stream);
  }

  /** Whether a text comes before the end. */
  async seen(text: string): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#onText = () => this.text.includes(text) && resolve(true);
    this.#onText();
    const seen = await Promise.race([promise, this.ended.then(() => this.text.includes(text))]);
    this.#onText = () => {};
    return seen;
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const piece of stream.pipeThrough(new TextDecoderStream())) {
      this.text += piece;
      this.#onText();
    }
  }
}

function portFile(place: Place): string {
  return `${place.folder}/redis/port`;
}

async function readPort(place: Place): Promise<number | null> {
  try {
    return Number(await Deno.readTextFile(portFile(place)));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function urlOf(port: number, place: Place): string {
  return `redis://:${place.password}@127.0.0.1:${port}`;
}

async function shutDown(port: number, place: Place): Promise<void> {
  // It writes down what is left, and closes the connection by ending.
  const answer = await command(port, place, "SHUTDOWN");
  if (answer !== "") throw new Error(`Cannot stop Redis: it answers ${answer}`);
  await Deno.remove(portFile(place));
}

/** The first line of the answer to one command; nothing where it is closed without one, or nobody is there. */
async function command(port: number, place: Place, text: string): Promise<string> {
  try {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port });
    await connection.write(new TextEncoder().encode(`AUTH ${place.password}\r\n${text}\r\n`));
    let answer = "";
    for await (const piece of connection.readable.pipeThrough(new TextDecoderStream())) {
      answer += piece;
      const line = /^\+OK\r\n(.*)\r\n/.exec(answer)?.[1] ?? /^(-.*)\r\n/.exec(answer)?.[1];
      if (line !== undefined) return line;
    }
    return "";
  } catch (error) {
    if (
      error instanceof Deno.errors.ConnectionRefused || error instanceof Deno.errors.ConnectionReset
    ) return "";
    throw error;
  }
}
