/**
 * The scope of a worker, as it can check it itself. Deno's flags hold it, and a worker that may do more in spite of
 * them does not start. A compiled binary carries the permissions it was compiled with, for the supervisor and for its
 * workers alike, so there a worker gives up what its pool did not grant.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { WorkerScope } from "../process/handshake.ts";

const KINDS = ["read", "write", "net", "env", "sys", "run", "ffi"] as const;

/**
 * Refuses a process that may do all of a kind that its pool grants in part, or not at all: where Deno's defaults are
 * wider than they are now, or something else than this library starts the workers' Deno.
 *
 * @throws {ConfigError} If it has more than the scope.
 */
export async function refuseWiderScope(scope: WorkerScope): Promise<void> {
  for (const kind of KINDS) {
    if (scope[kind] === true || !await hasAllOf(kind)) continue;
    throw new ConfigError(
      `Cannot keep to the pool's scope: this process may do all of '${kind}', its pool grants ${
        scope[kind]?.join(", ") ?? "nothing of it"
      }; look at what starts Deno, and with which flags and variables`,
    );
  }
}

async function hasAllOf(kind: Deno.PermissionName): Promise<boolean> {
  const whole = await Deno.permissions.query({ name: kind } as Deno.PermissionDescriptor);
  // Under a list it is "prompt" for the whole kind, or "denied".
  return whole.state === "granted";
}

/**
 * Narrows this process to the scope.
 *
 * @throws {ConfigError} If the binary was compiled with more of a kind than a revoke can take away, or with
 *   less than the pool grants.
 */
export async function narrowToScope(scope: WorkerScope): Promise<void> {
  for (const kind of KINDS) {
    const granted = scope[kind];
    if (granted === undefined) {
      await Deno.permissions.revoke({ name: kind } as Deno.PermissionDescriptor);
    } else if (granted !== true) {
      await refuseMore(kind, granted);
      await refuseLess(kind, granted);
    }
  }
}

/** Revoking one entry does nothing under a grant of the whole kind, so that grant must not be there. */
async function refuseMore(kind: Deno.PermissionName, granted: readonly string[]): Promise<void> {
  if (!await hasAllOf(kind)) return;
  throw new ConfigError(
    `Cannot narrow this binary to its pool's scope: it was compiled with all of '${kind}', which no worker can ` +
      `give up in part; compile with --allow-${kind}=${granted.join(",")}`,
  );
}

async function refuseLess(kind: Deno.PermissionName, granted: readonly string[]): Promise<void> {
  for (const entry of granted) {
    const status = await Deno.permissions.query(descriptor(kind, entry));
    if (status.state === "granted") continue;
    throw new ConfigError(
      `Cannot grant '${kind}' for ${entry}: the pool's permissions name it and this binary was compiled without ` +
        `it; compile with --allow-${kind}=${granted.join(",")}`,
    );
  }
}

function descriptor(kind: Deno.PermissionName, entry: string): Deno.PermissionDescriptor {
  switch (kind) {
    case "read":
    case "write":
    case "ffi":
      return { name: kind, path: entry };
    case "net":
      return { name: kind, host: entry };
    case "env":
      return { name: kind, variable: entry };
    case "run":
      return { name: kind, command: entry };
    case "sys":
      return {
        name: kind,
        kind: entry as Exclude<Deno.SysPermissionDescriptor["kind"], undefined>,
      };
    default:
      return kind satisfies never;
  }
}
