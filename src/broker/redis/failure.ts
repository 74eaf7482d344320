/**
 * What went wrong with Redis, as an error of this library: whether it can be tried again, and whether
 * the connection is still of use.
 *
 * @module
 */
import { AgentexecError, ConnectionError, IncompatibleError } from "../../errors.ts";
import { isDenied } from "../../program/permissions.ts";
import { ErrorReply } from "./reply.ts";

/** What failed. */
export interface Failed {
  /** Completes "Cannot …". */
  readonly doing: string;
  /** The address as it may be shown. */
  readonly address: string;
  /** What the client or the server said. */
  readonly cause: unknown;
}

/** What the server says by name and will not say for ever. */
const PASSING: Readonly<Record<string, string>> = {
  LOADING: "it is still loading its data",
  READONLY: "it is a replica now",
  MASTERDOWN: "it is a replica whose master is away",
  TRYAGAIN: "it asks to try again",
  MISCONF: "it cannot save to its disk and refuses writes",
  OOM: "it is full (maxmemory)",
  UNBLOCKED: "it became a replica while we waited",
  NOREPLICAS: "it has too few replicas and refuses writes",
  BUSY: "another script runs too long",
};

/** What the server says by name and what somebody has to change. */
const LASTING: Readonly<Record<string, string>> = {
  NOAUTH: "it wants a password",
  WRONGPASS: "it refused user or password",
  NOPERM: "its access list does not allow this",
  DENIED: "it takes connections from its own machine only (protected mode)",
};

const CLUSTER = ["MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN"];

/** After these the server is another than it was: the next connection may find the right one. */
const CHANGED = ["READONLY", "MASTERDOWN", "UNBLOCKED", "LOADING"];

/** The message of anything thrown; an aggregate (one failure per address of a host) tells all. */
function textOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.errors.length > 0) {
    return cause.errors.map(textOf).join(", ");
  }
  return cause instanceof Error ? cause.message : String(cause);
}

/** The code of a server's refusal; undefined for any other error. */
export function codeOf(cause: unknown): string | undefined {
  return cause instanceof ErrorReply ? cause.code : undefined;
}

/** Whether the connection shall be thrown away after this error. */
export function spoilsConnection(cause: unknown): boolean {
  const code = codeOf(cause);
  return code !== undefined && CHANGED.includes(code);
}

/** A certificate that does not pass will not pass the next time. */
function isUntrusted(cause: unknown): boolean {
  return cause instanceof Error &&
    (/certificate|self.signed|UnknownIssuer|altname|NotValidForName/i.test(cause.message) ||
      ("code" in cause && /CERT|SELF_SIGNED/.test(String(cause.code))));
}

/** The error of this library for what failed. An error that is one already stays as it is. */
export function toBrokerError({ doing, address, cause }: Failed): AgentexecError {
  if (cause instanceof AgentexecError) return cause;
  const text = textOf(cause);
  const code = codeOf(cause);
  const start = `Cannot ${doing} at ${address}`;
  if (code !== undefined) {
    if (code in PASSING) {
      return new ConnectionError(`${start}: ${PASSING[code]}, Redis says "${text}"`, {
        cause,
        retryable: true,
      });
    }
    if (code in LASTING) {
      return new ConnectionError(`${start}: ${LASTING[code]}, Redis says "${text}"`, {
        cause,
        retryable: false,
      });
    }
    if (CLUSTER.includes(code)) {
      return new IncompatibleError(
        `${start}: it is a node of a Redis cluster, which is not supported yet, Redis says "${text}"`,
        { cause },
      );
    }
    if (code === "WRONGTYPE") {
      return new IncompatibleError(
        `${start}: a key of the queue holds something else, another program uses its name: choose another by ` +
          `AGENTEXEC_QUEUE_NAME or the option 'queueName'`,
        { cause },
      );
    }
    if (/max number of clients/.test(text)) {
      return new ConnectionError(`${start}: ${text}`, { cause, retryable: true });
    }
    if (/DB index is out of range|invalid DB index/.test(text)) {
      return new ConnectionError(`${start}: the server has no database of this number`, {
        cause,
        retryable: false,
      });
    }
    return new AgentexecError(`${start}: Redis says "${text}"`, { cause });
  }
  if (isDenied(cause)) {
    const flag = `--allow-net=${/^\w+:\/\/(?:.*@)?([^/]*)/.exec(address)?.[1]}`;
    return new ConnectionError(`${start}: Deno does not allow it, add ${flag} (${text})`, {
      cause,
      retryable: false,
    });
  }
  return new ConnectionError(`${start}: ${text}`, { cause, retryable: !isUntrusted(cause) });
}
