/**
 * One connection to one Redis, once: a session that is lost is lost for good, and the next one is a new
 * object. The reconnecting of `@redis/client` is switched off: it hides causes, queues without bound, and
 * has no deadline.
 *
 * @module
 */
import { createClient, type RedisClientType } from "@redis/client";
import type { RedisAddress } from "../../addresses.ts";
import { sleep, withDeadline } from "../../clock.ts";
import { ConnectionError, IncompatibleError } from "../../errors.ts";
import { toBrokerError } from "./failure.ts";
import { asString, type Reply } from "./reply.ts";

/** The oldest server: scripts with flags came with it. */
const OLDEST_REDIS = 7;

type Client = RedisClientType<Record<never, never>, Record<never, never>, Record<never, never>, 3>;

/** How a session is opened. */
export interface SessionOptions {
  /** What the server shall call the connection. */
  readonly name: string | undefined;
  /** The address as errors show it. */
  readonly shown: string;
  /** How long opening may take, in milliseconds. */
  readonly ms: number;
  /** Gives up opening. */
  readonly signal: AbortSignal;
}

/** One connection, from its opening to its end. */
export class Session {
  /** Resolves with the cause when the connection is no more, for whatever reason. */
  readonly lost: Promise<unknown>;
  readonly #client: Client;
  readonly #abort: AbortController;
  #gone = false;
  #lostTo: unknown;
  #lose: (cause: unknown) => void = () => {};

  private constructor(client: Client, abort: AbortController) {
    this.#client = client;
    this.#abort = abort;
    this.lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
    // Without a listener an error event would end the process. Any error ends the session: what the
    // client reports here is a lost socket or bytes that are no Redis.
    client.on("error", (cause) => this.destroy(cause));
    // The client forgets a socket that gets connected after its end.
    client.on("connect", () => {
      if (this.#gone) client.destroy();
    });
  }

  /**
   * Connects, and makes sure of the server: its version, its kind, its role.
   *
   * @throws {ConnectionError} If it cannot be reached, or refuses.
   * @throws {IncompatibleError} If the server is too old or of a kind that is not supported.
   */
  static async open(address: RedisAddress, options: SessionOptions): Promise<Session> {
    const { shown, ms, signal } = options;
    const abort = new AbortController();
    const session = new Session(makeClient(address, { ...options, signal: abort.signal }), abort);
    function giveUp(): void {
      session.destroy(
        new ConnectionError(`Cannot connect to ${shown}: closed`, { retryable: false }),
      );
    }
    signal.addEventListener("abort", giveUp, { once: true });
    if (signal.aborted) giveUp();
    try {
      await withDeadline(session.#start(shown), {
        ms,
        error: () =>
          new ConnectionError(`Cannot connect to ${shown}: no answer within ${ms} ms`, {
            retryable: true,
          }),
      });
      return session;
    } catch (cause) {
      session.destroy(cause);
      throw toBrokerError({ doing: "connect to Redis", address: shown, cause });
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
  }

  /** Whether the connection is no more. */
  get gone(): boolean {
    return this.#gone;
  }

  /** What the connection was lost to, once it is gone. */
  get lostTo(): unknown {
    return this.#lostTo;
  }

  /** Sends a command. Rejects with what the server or the client says. */
  send(args: readonly string[]): Promise<Reply> {
    return this.#client.sendCommand(args) as Promise<Reply>;
  }

  /** Starts to listen on a channel; resolves when the server confirmed it. */
  async subscribe(channel: string, listener: (message: string) => void): Promise<void> {
    await this.#client.subscribe(channel, listener);
  }

  /** Ends listening on a channel. */
  async unsubscribe(channel: string, listener: (message: string) => void): Promise<void> {
    // Without the listener the client would forget one that is added meanwhile.
    await this.#client.unsubscribe(channel, listener);
  }

  /** Ends the connection at once; what waits for an answer fails. */
  destroy(cause: unknown): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#lostTo = cause;
    this.#client.destroy();
    // A socket that is not connected yet is not the client's to destroy.
    this.#abort.abort();
    this.#lose(cause);
  }

  /** Lets what waits for an answer have it for at most `ms`, then ends the connection. */
  async end(ms: number): Promise<void> {
    if (this.#gone) return;
    // It fails only where the client ended by itself meanwhile, which is as good.
    const closing = this.#client.close().catch(() => {});
    const timeout = new AbortController();
    await Promise.race([closing, this.lost, sleep(ms, { signal: timeout.signal })]);
    timeout.abort();
    this.destroy("closed");
  }

  async #start(shown: string): Promise<void> {
    const failed = this.lost.then((cause) => Promise.reject(cause));
    checkServer(await Promise.race([this.#greet(), failed]), shown);
  }

  async #greet(): Promise<Reply> {
    await this.#client.connect();
    const hello = await this.send(["HELLO"]);
    // Fails while the server loads its data, which HELLO does not tell.
    await this.send(["PING"]);
    return hello;
  }
}

function makeClient(
  address: RedisAddress,
  options: { readonly name: string | undefined; readonly ms: number; readonly signal: AbortSignal },
): Client {
  const { username, password, nodes: [node] } = address;
  const socket = {
    host: node.host,
    port: node.port,
    connectTimeout: options.ms,
    reconnectStrategy: false as const,
    signal: options.signal,
  };
  return createClient({
    // Certificates are verified by default, and nothing here says otherwise.
    socket: address.tls ? { ...socket, tls: true } : socket,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(options.name === undefined ? {} : { name: options.name }),
    database: address.database,
    // With RESP 3 messages and answers cannot be taken for each other.
    RESP: 3,
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: "disabled",
  });
}

/** Refuses a server that cannot hold a queue. */
function checkServer(hello: Reply, shown: string): void {
  const told = typeof hello === "object" && hello !== null && !Array.isArray(hello)
    ? hello as { readonly [key: string]: Reply }
    : {};
  const version = asString(told["version"]);
  if (Number.parseInt(version) < OLDEST_REDIS) {
    throw new IncompatibleError(
      `Cannot use the Redis at ${shown}: at least version ${OLDEST_REDIS}.0 is needed, current value is ${version}`,
    );
  }
  const mode = asString(told["mode"]);
  if (mode !== "standalone") {
    const what = mode === "cluster" ? "a node of a Redis cluster" : `in the mode '${mode}'`;
    throw new IncompatibleError(
      `Cannot use the Redis at ${shown}: it is ${what}, only a single server is supported yet`,
    );
  }
  const role = asString(told["role"]);
  if (role !== "master") {
    // During a failover the address may lead to the old master for a while.
    throw new ConnectionError(`Cannot use the Redis at ${shown}: it is a ${role}, not the master`, {
      retryable: true,
    });
  }
}
