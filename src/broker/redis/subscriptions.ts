/**
 * Listening: all channels of a process on one connection, subscribed again whenever it was lost.
 *
 * @module
 */
import { repeat, type StopRepeating } from "../../clock.ts";
import type { RedisAddress } from "../../addresses.ts";
import { ConnectionError } from "../../errors.ts";
import type { SubscribeOptions, Unsubscribe } from "../broker.ts";
import { Connection, type ConnectionOptions } from "./connection.ts";
import { toBrokerError } from "./failure.ts";
import type { Session } from "./session.ts";

/** How often a connection on which nothing has to be said is asked whether it lives. */
const PING_MS = 5_000;

/** One channel and who listens to it. */
interface Channel {
  readonly listeners: Set<SubscribeOptions>;
  readonly dispatch: (message: string) => void;
}

/** The subscriptions of a broker. */
export class Subscriptions {
  readonly #connection: Connection;
  readonly #channels = new Map<string, Channel>();
  #hadSession = false;
  #stopPinging: StopRepeating | undefined;

  /** Makes no call yet. */
  constructor(
    address: RedisAddress,
    options: Pick<ConnectionOptions, "clientName" | "contact">,
  ) {
    this.#connection = new Connection(address, {
      ...options,
      onSession: (session) => this.#resubscribe(session),
    });
  }

  /** Listens; resolves when the server confirmed it. */
  async subscribe(channel: string, options: SubscribeOptions): Promise<Unsubscribe> {
    // A copy of its own, so that the same options twice are two listeners.
    const listener = { ...options };
    const entry = this.#add(channel, listener);
    const doing = `listen on '${channel}'`;
    try {
      await this.#connection.use(
        { doing },
        (session) => session.subscribe(channel, entry.dispatch),
      );
    } catch (error) {
      await this.#remove(channel, entry, listener);
      throw error;
    }
    this.#stopPinging ??= repeat(PING_MS, {
      action: () => this.#ping(),
      // The connection is made anew by itself, and listeners are told then.
      onError: () => {},
    });
    return () => this.#remove(channel, entry, listener);
  }

  /** Ends all subscriptions and the connection. */
  async close(): Promise<void> {
    this.#channels.clear();
    await this.#connection.close({ graceMs: 0 });
    await this.#stopPinging?.();
  }

  #add(channel: string, listener: SubscribeOptions): Channel {
    const known = this.#channels.get(channel);
    if (known !== undefined) {
      known.listeners.add(listener);
      return known;
    }
    const listeners = new Set([listener]);
    const entry = {
      listeners,
      dispatch: (message: string) => {
        for (const { onMessage } of [...listeners]) onMessage(message);
      },
    };
    this.#channels.set(channel, entry);
    return entry;
  }

  async #remove(channel: string, entry: Channel, listener: SubscribeOptions): Promise<void> {
    entry.listeners.delete(listener);
    if (entry.listeners.size > 0 || this.#channels.get(channel) !== entry) return;
    this.#channels.delete(channel);
    if (!this.#connection.connected) return;
    try {
      await this.#connection.use(
        { doing: `stop listening on '${channel}'` },
        (session) => session.unsubscribe(channel, entry.dispatch),
      );
    } catch (error) {
      // The connection is lost or closed, and its subscriptions with it: the next one will not have this.
      if (!(error instanceof ConnectionError)) throw error;
    }
  }

  async #resubscribe(session: Session): Promise<void> {
    const before = [...this.#channels];
    await Promise.all(before.map(([name, { dispatch }]) => session.subscribe(name, dispatch)));
    if (this.#hadSession) {
      for (const [, { listeners }] of before) {
        for (const { onReconnect } of [...listeners]) onReconnect?.();
      }
    }
    this.#hadSession = true;
  }

  /**
   * A connection that keeps silent is thrown away by the call that waits in vain, and so is one on which a ping is
   * answered by anything else: whatever is wrong with it, the next one may be well.
   */
  async #ping(): Promise<void> {
    if (this.#channels.size === 0 || !this.#connection.connected) return;
    const doing = "listen";
    await this.#connection.use({ doing }, async (session) => {
      try {
        await session.ping();
      } catch (cause) {
        const { address } = this.#connection;
        this.#connection.drop(toBrokerError({ doing, address, cause }), session);
        throw cause;
      }
    });
  }
}
