/**
 * A TCP proxy that spoils connections: it cuts them, swallows what passes, or loses one answer.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** A proxy before one server. */
export interface Proxy extends AsyncDisposable {
  /** Its port on 127.0.0.1. */
  readonly port: number;
  /** How many connections were made through it. */
  readonly connections: number;
  /** Cuts all connections; new ones are accepted. */
  cut(): void;
  /**
   * Lets the next request that holds `text` reach the server, and cuts its connection when the server
   * answers, so that the answer is lost. Resolves when that has happened.
   */
  loseAnswerTo(text: string): Promise<void>;
  /** Replaces a text in all that the server says. */
  rewrite(from: string, to: string): void;
  /** Passes on again what the server says. */
  restore(): void;
  /** Refuses connections, and cuts those that are there, as if nobody listened. */
  refuse(): void;
  /** Accepts connections again, on the same port. */
  accept(): void;
  /** Lets nothing pass any more, either way, and ends no connection (a cable that was pulled). */
  block(): void;
  /** Lets everything pass again. What was held back arrives. */
  unblock(): void;
}

/** Starts a proxy before a port of 127.0.0.1. */
export function startProxy(target: number): Proxy {
  return new TcpProxy(target);
}

/** A text as the bytes that pass show it: one character per byte. */
function bytesOf(text: string): string {
  return Buffer.from(text).toString("latin1");
}

class TcpProxy implements Proxy {
  readonly #target: number;
  #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #port = this.#listener.addr.port;
  #refusing = false;
  readonly #links = new Set<Link>();
  #running: Promise<unknown>;
  readonly #rewrites: (readonly [string, string])[] = [];
  #losing: { readonly text: string; readonly done: () => void } | undefined;
  #gate: PromiseWithResolvers<void> | undefined;
  #connections = 0;

  constructor(target: number) {
    this.#target = target;
    this.#running = this.#accept();
  }

  get port(): number {
    return this.#port;
  }

  get connections(): number {
    return this.#connections;
  }

  cut(): void {
    for (const link of this.#links) link.close();
  }

  loseAnswerTo(text: string): Promise<void> {
    return new Promise((done) => {
      this.#losing = { text: bytesOf(text), done };
    });
  }

  rewrite(from: string, to: string): void {
    this.#rewrites.push([bytesOf(from), bytesOf(to)]);
  }

  restore(): void {
    this.#rewrites.length = 0;
  }

  refuse(): void {
    this.#refusing = true;
    this.#listener.close();
    this.cut();
  }

  accept(): void {
    this.#refusing = false;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: this.#port });
    this.#running = Promise.all([this.#running, this.#accept()]);
  }

  block(): void {
    this.#gate ??= Promise.withResolvers<void>();
  }

  unblock(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.unblock();
    if (!this.#refusing) this.#listener.close();
    this.cut();
    await this.#running;
  }

  async #accept(): Promise<void> {
    const served = [];
    for await (const client of this.#listener) {
      this.#connections++;
      served.push(this.#serve(client));
    }
    await Promise.all(served);
  }

  async #serve(client: Deno.TcpConn): Promise<void> {
    let server: Deno.TcpConn;
    try {
      server = await Deno.connect({ hostname: "127.0.0.1", port: this.#target });
    } catch {
      client.close(); // The server is down: so is what stands before it.
      return;
    }
    const link = new Link(client, server);
    this.#links.add(link);
    await Promise.all([
      pump(client, server, (chunk) => this.#request(link, chunk)),
      pump(server, client, (chunk) => this.#answer(link, chunk)),
    ]);
    link.close();
    this.#links.delete(link);
  }

  async #request(link: Link, chunk: string): Promise<string> {
    await this.#gate?.promise;
    if (this.#losing !== undefined && chunk.includes(this.#losing.text)) {
      link.losing = this.#losing.done;
      this.#losing = undefined;
    }
    return chunk;
  }

  async #answer(link: Link, chunk: string): Promise<string> {
    await this.#gate?.promise;
    if (link.losing !== undefined) {
      link.close();
      link.losing();
      return "";
    }
    return this.#rewrites.reduce((text, [from, to]) => text.replaceAll(from, to), chunk);
  }
}

/** A client's connection and the one to the server behind it. */
class Link {
  losing: (() => void) | undefined;
  readonly #ends: readonly Deno.TcpConn[];
  #closed = false;

  constructor(...ends: readonly Deno.TcpConn[]) {
    this.#ends = ends;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const end of this.#ends) closeQuietly(end);
  }
}

/** Passes on what comes until either side ends. */
async function pump(
  from: Deno.TcpConn,
  to: Deno.TcpConn,
  pass: (chunk: string) => Promise<string>,
): Promise<void> {
  const buffer = new Uint8Array(65_536);
  try {
    for (let count; (count = await from.read(buffer)) !== null;) {
      const passed = await pass(Buffer.from(buffer.subarray(0, count)).toString("latin1"));
      const bytes = Buffer.from(passed, "latin1");
      for (let sent = 0; sent < bytes.length;) sent += await to.write(bytes.subarray(sent));
    }
    await to.closeWrite();
  } catch {
    // One side is gone: the other is closed when both directions have ended.
    closeQuietly(to);
  }
}

function closeQuietly(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}
