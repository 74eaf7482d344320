/**
 * One connection to one Redis, once: a session that is lost is lost for good, and the next one is a new object. A
 * driver makes it; all above the drivers sees sessions alone.
 *
 * @module
 */
import type { RedisAddress, RedisNode } from "../../addresses.ts";
import { withDeadline } from "../../clock.ts";
import { ConnectionError, IncompatibleError } from "../../errors.ts";
import { toBrokerError } from "./failure.ts";
import { asString, ErrorReply, type Reply } from "./reply.ts";

/** The oldest server: scripts with flags came with it. */
const OLDEST_REDIS = 7;

/** One connection, from its opening to its end. It never comes back by itself. */
export interface Session {
  /** Resolves with the cause when the connection is no more, for whatever reason. */
  readonly lost: Promise<unknown>;
  /** Whether the connection is no more. */
  readonly gone: boolean;
  /** The cause, once it is gone. */
  readonly lostTo: unknown;
  /**
   * Sends a command. What RESP 3 answers by a map is an object under RESP 2 too.
   *
   * @throws {ErrorReply} If the server refuses it. Any other error is of the driver, and means that there is no answer.
   */
  send(args: readonly string[]): Promise<Reply>;
  /** Sends commands at once; each has its answer, be it a refusal. Rejects if there is no answer. */
  sendMany(commands: readonly (readonly string[])[]): Promise<readonly (Reply | ErrorReply)[]>;
  /** Starts to listen on a channel; resolves when the server confirmed it. */
  subscribe(channel: string, listener: (message: string) => void): Promise<void>;
  /** Ends listening on a channel. */
  unsubscribe(channel: string, listener: (message: string) => void): Promise<void>;
  /** Resolves if the server answers, as it should, over the connection that listens. */
  ping(): Promise<void>;
  /** Ends the connection at once; what waits for an answer fails. */
  drop(cause: unknown): void;
  /** Ends the connection; what waits for an answer may still have it for `ms` milliseconds. */
  close(ms: number): Promise<void>;
}

/** What a driver needs to connect. */
export interface ConnectOptions {
  /** Who connects, to which database, and whether by TLS. */
  readonly address: RedisAddress;
  /** The server. */
  readonly node: RedisNode;
  /** What the server shall call the connection; undefined for nothing. */
  readonly name: string | undefined;
  /** How long connecting may take, in milliseconds. */
  readonly ms: number;
  /** Drops the session with the signal's reason, from the first moment on: nothing is left behind. */
  readonly signal: AbortSignal;
}

/** A driver: connects to a server, as the user of the address. */
export type Connect = (options: ConnectOptions) => Promise<Session>;

/** How a session is opened. */
export interface OpenOptions extends Pick<ConnectOptions, "address" | "name" | "ms"> {
  /** The address as errors show it. */
  readonly shown: string;
  /** Gives up opening. */
  readonly signal: AbortSignal;
}

/**
 * Connects, and makes sure of the server: its version, its kind, its role.
 *
 * @throws {ConnectionError} If it cannot be reached, or refuses.
 * @throws {IncompatibleError} If the server is too old or of a kind that is not supported.
 */
export async function openSession(connect: Connect, options: OpenOptions): Promise<Session> {
  const { address, name, shown, ms } = options;
  const attempt = new AbortController();
  function giveUp(): void {
    attempt.abort(new ConnectionError(`Cannot connect to ${shown}: closed`, { retryable: false }));
  }
  options.signal.addEventListener("abort", giveUp, { once: true });
  if (options.signal.aborted) giveUp();
  try {
    const { nodes: [node] } = address;
    const greeted = connect({ address, node, name, ms, signal: attempt.signal })
      .then((session) => greet(session, shown));
    return await withDeadline(greeted, {
      ms,
      error: () =>
        new ConnectionError(`Cannot connect to ${shown}: no answer within ${ms} ms`, {
          retryable: true,
        }),
    });
  } catch (cause) {
    attempt.abort(cause);
    throw toBrokerError({ doing: "connect to Redis", address: shown, cause });
  } finally {
    options.signal.removeEventListener("abort", giveUp);
  }
}

/** Refuses a server that cannot be used. */
async function greet(session: Session, shown: string): Promise<Session> {
  const lost = session.lost.then((cause) => Promise.reject(cause));
  // HELLO does not tell that the server still loads its data; a PING fails then.
  const replies = await Promise.race([session.sendMany([["HELLO"], ["PING"]]), lost]);
  for (const reply of replies) if (reply instanceof ErrorReply) throw reply;
  checkServer(replies[0] as Reply, shown);
  return session;
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
