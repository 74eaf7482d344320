/**
 * Sessions by `@redis/client`. Its reconnecting is switched off: it hides causes, queues without bound, and has no
 * deadline.
 *
 * @module
 */
import { createClient, ErrorReply as ClientErrorReply, type RedisClientType } from "@redis/client";
import { sleep } from "../../../clock.ts";
import { ErrorReply, type Reply } from "../reply.ts";
import type { ConnectOptions, Session } from "../session.ts";

type Client = RedisClientType<Record<never, never>, Record<never, never>, Record<never, never>, 3>;

/** Connects by `@redis/client`. */
export async function connectNodeRedis(options: ConnectOptions): Promise<Session> {
  const session = new NodeRedisSession(options);
  await session.connect();
  return session;
}

/** One client, connected once. */
class NodeRedisSession implements Session {
  readonly lost: Promise<unknown>;
  readonly #client: Client;
  /** Ends a socket that is not connected yet, which is not the client's to destroy. */
  readonly #dialling = new AbortController();
  #gone = false;
  #lostTo: unknown;
  #lose: (cause: unknown) => void = () => {};

  constructor(options: ConnectOptions) {
    this.#client = makeClient(options, this.#dialling.signal);
    this.lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
    // Without a listener an error event would end the process. Any error ends the session: what the
    // client reports here is a lost socket or bytes that are no Redis.
    this.#client.on("error", (cause) => this.drop(told(cause)));
    // The client forgets a socket that gets connected after its end.
    this.#client.on("connect", () => {
      if (this.#gone) this.#client.destroy();
    });
    const { signal } = options;
    signal.addEventListener("abort", () => this.drop(signal.reason), { once: true });
    if (signal.aborted) this.drop(signal.reason);
  }

  get gone(): boolean {
    return this.#gone;
  }

  get lostTo(): unknown {
    return this.#lostTo;
  }

  async connect(): Promise<void> {
    try {
      if (!this.#gone) {
        // Given up, it would still wait for the socket.
        await Promise.race([this.#client.connect(), this.lost]);
      }
    } catch (cause) {
      this.drop(told(cause));
    }
    if (this.#gone) throw this.#lostTo;
  }

  async send(args: readonly string[]): Promise<Reply> {
    try {
      return await this.#client.sendCommand(args) as Reply;
    } catch (cause) {
      throw told(cause);
    }
  }

  async sendMany(
    commands: readonly (readonly string[])[],
  ): Promise<readonly (Reply | ErrorReply)[]> {
    // The client writes together what it is handed in one turn.
    return await Promise.all(commands.map((args) =>
      this.send(args).catch((cause) => {
        if (cause instanceof ErrorReply) return cause;
        throw cause;
      })
    ));
  }

  async subscribe(channel: string, listener: (message: string) => void): Promise<void> {
    try {
      await this.#client.subscribe(channel, listener);
    } catch (cause) {
      throw told(cause);
    }
  }

  async unsubscribe(channel: string, listener: (message: string) => void): Promise<void> {
    try {
      // Without the listener the client would forget one that is added meanwhile.
      await this.#client.unsubscribe(channel, listener);
    } catch (cause) {
      throw told(cause);
    }
  }

  async ping(): Promise<void> {
    const reply = await this.send(["PING"]);
    if (reply !== "PONG") throw new TypeError(`a ping was answered by ${JSON.stringify(reply)}`);
  }

  drop(cause: unknown): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#lostTo = cause;
    this.#client.destroy();
    this.#dialling.abort();
    this.#lose(cause);
  }

  async close(ms: number): Promise<void> {
    if (this.#gone) return;
    // It fails only where the client ended by itself meanwhile, which is as good.
    const closing = this.#client.close().catch(() => {});
    const timeout = new AbortController();
    await Promise.race([closing, this.lost, sleep(ms, { signal: timeout.signal })]);
    timeout.abort();
    this.drop("closed");
  }
}

/** The client's error as all above tells it: a server's refusal is an {@linkcode ErrorReply}. */
function told(cause: unknown): unknown {
  return cause instanceof ClientErrorReply ? new ErrorReply(cause.message) : cause;
}

function makeClient({ address, node, name, ms }: ConnectOptions, signal: AbortSignal): Client {
  const { username, password } = address;
  const socket = {
    host: node.host,
    port: node.port,
    connectTimeout: ms,
    reconnectStrategy: false as const,
    signal,
  };
  return createClient({
    // Certificates are verified by default, and nothing here says otherwise.
    socket: address.tls ? { ...socket, tls: true } : socket,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(name === undefined ? {} : { name }),
    database: address.database,
    // With RESP 3 messages and answers cannot be taken for each other.
    RESP: 3,
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: "disabled",
  });
}
