/**
 * A connection that comes back: one session at a time, opened when first needed, made anew for ever when
 * it is lost, and a deadline on every call.
 *
 * @module
 */
import { backoff, monotonicMs, sleep, withDeadline } from "../../clock.ts";
import { type RedisAddress, showBroker } from "../../addresses.ts";
import { AgentexecError, ConnectionError } from "../../errors.ts";
import type { Contact } from "../../contact.ts";
import { connectNodeRedis } from "./drivers/node_redis.ts";
import { codeOf, spoilsConnection, toBrokerError } from "./failure.ts";
import type { Reply } from "./reply.ts";
import type { Commands, Script, ScriptCall } from "./script.ts";
import { openSession, type Session } from "./session.ts";
import { BROKER_CLOSE_MS } from "../../stop_budget.ts";

/** How long a call may take, connecting included. */
const CALL_MS = 5_000;
/** The slowest link that is reckoned with: 1 MiB a second. */
const SLOWEST_BYTES_PER_MS = 1_048;
const PAUSES = { firstMs: 50, mostMs: 2_000 };
/** The longest pause while a call waits, so that each call is there for more than one attempt. */
const LONGEST_PAUSE_WAITED_MS = 500;
/** An answer that took longer counts as a break in contact: others may have been cut off meanwhile. */
const PROMPT_MS = 1_000;

/** What a connection may be told. */
export interface ConnectionOptions {
  /** What the server shall call it. */
  readonly clientName?: string | undefined;
  /**
   * Called with each new session before any call uses it. Where it rejects, the session is given up.
   *
   * @default {undefined} (nothing)
   */
  readonly onSession?: (session: Session) => Promise<void>;
  /**
   * Whether a lost session is replaced only when the next call needs one.
   *
   * @default {false} (at once)
   */
  readonly onDemand?: boolean;
  /**
   * Told whether the server can be reached.
   *
   * @default {undefined} (nobody is told)
   */
  readonly contact?: Contact | undefined;
}

/** What a queue needs of a connection. */
export interface RedisCommands extends Commands {
  /** For how long, in milliseconds, the server has answered without a break. */
  readonly contactMs: number;
}

/** How long a request's bytes may be on their way: a slow link is no server that is away. */
function sendMs(args: readonly string[]): number {
  return Math.round(args.reduce((sum, arg) => sum + arg.length, 0) / SLOWEST_BYTES_PER_MS);
}

/** One connection of a process, which outlives the sockets it uses. */
export class Connection implements RedisCommands {
  readonly address: string;
  readonly #address: RedisAddress;
  readonly #options: ConnectionOptions;
  readonly #closed = new AbortController();
  #session: Session | undefined;
  /** The attempt to open a session that is under way. */
  #opening: Promise<Session> | undefined;
  #reconnecting: Promise<void> | undefined;
  #lastFailure: AgentexecError | undefined;
  /** Since when every answer came promptly, on the monotonic clock. */
  #contactSince = 0;
  readonly #waiting = new Set<Waiting>();
  /** Ends a pause between two attempts. */
  #hurry: () => void = () => {};

  /** Makes no call yet. */
  constructor(address: RedisAddress, options: ConnectionOptions = {}) {
    this.#address = address;
    this.#options = options;
    this.address = showBroker(address);
  }

  /** Whether {@linkcode Connection.close} was called. */
  get closed(): boolean {
    return this.#closed.signal.aborted;
  }

  /** Whether there is a session now. */
  get connected(): boolean {
    return this.#session !== undefined;
  }

  /** For how long, in milliseconds, the server has answered without a break; 0 while it does not. */
  get contactMs(): number {
    return this.#session === undefined ? 0 : monotonicMs() - this.#contactSince;
  }

  /** Connects, by one attempt that fails with its cause. */
  async open(): Promise<void> {
    if (this.#session === undefined) await this.#attempt();
  }

  /** Sees to it that there is a session, now or some time, without waiting for it. */
  keepOpen(): void {
    if (this.#session === undefined && !this.closed) this.#reconnecting ??= this.#reconnect();
  }

  async call(args: readonly string[], doing: string): Promise<Reply> {
    return await this.#call(CALL_MS, args, doing);
  }

  async run(script: Script, call: ScriptCall): Promise<Reply> {
    return await this.#run(CALL_MS, script, call);
  }

  /** The same connection for callers that wait for an answer for `ms` only. */
  within(ms: number): RedisCommands {
    const contactMs = () => this.contactMs;
    return {
      address: this.address,
      get contactMs() {
        return contactMs();
      },
      call: (args, doing) => this.#call(ms, args, doing),
      run: (script, call) => this.#run(ms, script, call),
    };
  }

  async #call(ms: number, args: readonly string[], doing: string): Promise<Reply> {
    return await this.#send(doing, { ms, sendMs: sendMs(args) }, (session) => session.send(args));
  }

  async #run(ms: number, script: Script, { key, args, doing }: ScriptCall): Promise<Reply> {
    const rest = ["1", key, ...args.map(String)];
    return await this.#send(doing, { ms, sendMs: sendMs(rest) }, async (session) => {
      try {
        return await session.send(["EVALSHA", script.sha, ...rest]);
      } catch (cause) {
        if (codeOf(cause) !== "NOSCRIPT") throw cause;
        return await session.send(["EVAL", script.source, ...rest]);
      }
    });
  }

  /** Does something with the session itself, within `ms`. */
  async use<T>(
    { doing, ms = CALL_MS }: { readonly doing: string; readonly ms?: number },
    action: (session: Session) => Promise<T>,
  ): Promise<T> {
    return await this.#send(doing, { ms }, action);
  }

  /**
   * Ends a session, the present one by default, at once: calls under way fail, and a new one is made. An error of this
   * library says that the server cannot be reached.
   */
  drop(cause: unknown, session: Session | undefined = this.#session): void {
    if (session === undefined || session.gone || this.closed) return;
    if (cause instanceof AgentexecError) this.#options.contact?.failed(this, cause);
    session.drop(cause);
  }

  /** Ends the connection for good; answers under way get `graceMs`, 0.8 s by default. May be called twice. */
  async close({ graceMs = BROKER_CLOSE_MS }: { readonly graceMs?: number } = {}): Promise<void> {
    this.#closed.abort();
    if (graceMs === 0) this.#session?.drop("closed");
    this.#options.contact?.forget(this);
    const closed = this.#closedError("use the connection");
    for (const waiting of this.#waiting) waiting.reject(closed);
    this.#waiting.clear();
    await this.#session?.close(graceMs);
    // Both look at the signal and end by themselves.
    await this.#reconnecting;
    await this.#opening?.catch(() => {});
  }

  async #send<T>(
    doing: string,
    { ms, sendMs = 0 }: { readonly ms: number; readonly sendMs?: number },
    action: (session: Session) => Promise<T>,
  ): Promise<T> {
    const deadline = monotonicMs() + ms + sendMs;
    const session = this.#session ?? await this.#ready(doing, ms);
    const sentAt = monotonicMs();
    try {
      const reply = await withDeadline(action(session), {
        ms: deadline - sentAt,
        error: () => this.#lateError(doing, ms + sendMs),
      });
      this.#answered(monotonicMs() - sentAt);
      return reply;
    } catch (cause) {
      if (this.closed) throw this.#closedError(doing);
      const silentMs = monotonicMs() - sentAt;
      // The client's own error says only that there is no connection.
      if (session.gone && codeOf(cause) === undefined) throw this.#lostError(doing, session.lostTo);
      // A session that keeps silent may be half dead: the next call shall not hang on it as well.
      const isSilent = cause instanceof ConnectionError && silentMs >= PROMPT_MS;
      if (isSilent || spoilsConnection(cause)) this.drop(cause, session);
      else this.#answered(silentMs);
      throw toBrokerError({ doing, address: this.address, cause });
    }
  }

  #answered(tookMs: number): void {
    if (tookMs > PROMPT_MS) this.#contactSince = monotonicMs();
  }

  /** The next session, for as long as the caller can wait. */
  #ready(doing: string, ms: number): Promise<Session> {
    if (this.closed) return Promise.reject(this.#closedError(doing));
    let waiting: Waiting | undefined;
    const ready = new Promise<Session>((resolve, reject) => {
      waiting = { resolve, reject };
      this.#waiting.add(waiting);
    });
    this.keepOpen();
    this.#hurry();
    return withDeadline(ready, {
      ms,
      error: () => {
        if (waiting !== undefined) this.#waiting.delete(waiting);
        return this.#lateError(doing, ms);
      },
    });
  }

  /** One attempt to open a session; all who want one share it. */
  #attempt(): Promise<Session> {
    if (this.closed) return Promise.reject(this.#closedError("connect"));
    this.#opening ??= this.#openSession().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #openSession(): Promise<Session> {
    const session = await openSession(connectNodeRedis, {
      address: this.#address,
      name: this.#options.clientName,
      shown: this.address,
      ms: CALL_MS,
      signal: this.#closed.signal,
    });
    try {
      await this.#options.onSession?.(session);
    } catch (cause) {
      session.drop(cause);
      throw toBrokerError({ doing: "connect to Redis", address: this.address, cause });
    }
    if (this.closed) {
      session.drop("closed");
      throw this.#closedError("connect");
    }
    this.#adopt(session);
    return session;
  }

  #adopt(session: Session): void {
    this.#session = session;
    this.#contactSince = monotonicMs();
    this.#lastFailure = undefined;
    this.#options.contact?.answered(this);
    for (const { resolve } of this.#waiting) resolve(session);
    this.#waiting.clear();
    session.lost.then((cause) => {
      if (this.#session === session) this.#session = undefined;
      this.#lastFailure = toBrokerError({
        doing: "keep the connection",
        address: this.address,
        cause,
      });
      if (this.#options.onDemand !== true) this.keepOpen();
    });
  }

  /** Tries until there is a session or the end. The pauses are capped and spread, their number is not. */
  async #reconnect(): Promise<void> {
    for (let failures = 1; !this.closed && this.#session === undefined; failures++) {
      try {
        await this.#attempt();
      } catch (cause) {
        const failure = toBrokerError({ doing: "connect to Redis", address: this.address, cause });
        this.#lastFailure = failure;
        if (!this.closed) this.#options.contact?.failed(this, failure);
        // Callers need not wait for what waiting does not cure.
        if (!(failure instanceof ConnectionError && failure.retryable)) this.#refuse(failure);
        await this.#pause(backoff(failures, PAUSES));
      }
    }
    this.#reconnecting = undefined;
  }

  /** A pause that the first call which wants the connection cuts short. */
  async #pause(ms: number): Promise<void> {
    if (this.#waiting.size > 0) {
      await sleep(Math.min(ms, LONGEST_PAUSE_WAITED_MS), { signal: this.#closed.signal });
      return;
    }
    const hurried = new AbortController();
    this.#hurry = () => hurried.abort();
    await sleep(ms, { signal: AbortSignal.any([this.#closed.signal, hurried.signal]) });
    this.#hurry = () => {};
  }

  #refuse(failure: AgentexecError): void {
    for (const { reject } of this.#waiting) reject(failure);
    this.#waiting.clear();
  }

  #lateError(doing: string, ms: number): ConnectionError {
    const last = this.#lastFailure;
    const why = last === undefined
      ? `no answer within ${ms} ms`
      : `not connected for ${ms} ms (${last.message})`;
    return new ConnectionError(`Cannot ${doing} at ${this.address}: ${why}`, {
      retryable: true,
      ...(last === undefined ? {} : { cause: last }),
    });
  }

  #lostError(doing: string, cause: unknown): ConnectionError {
    const why = cause instanceof Error ? cause.message : String(cause);
    return new ConnectionError(
      `Cannot ${doing} at ${this.address}: the connection was lost while waiting for the answer (${why})`,
      { retryable: true, cause },
    );
  }

  #closedError(doing: string): ConnectionError {
    return new ConnectionError(`Cannot ${doing} at ${this.address}: the connection was closed`, {
      retryable: false,
    });
  }
}

/** A call that waits for a session. */
interface Waiting {
  readonly resolve: (session: Session) => void;
  readonly reject: (error: AgentexecError) => void;
}
