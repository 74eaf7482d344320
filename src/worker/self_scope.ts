/**
 * The scope of a compiled worker. A binary carries the permissions it was compiled with, for the
 * supervisor and for its workers alike, so a worker gives up what its pool did not grant.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { SelfScope } from "../process/handshake.ts";

const KINDS = ["read", "write", "net", "env", "sys", "run", "ffi"] as const;

/**
 * Narrows this process to the scope.
 *
 * @throws {ConfigError} If the binary was compiled with more of a kind than a revoke can take away, or with
 *   less than the pool grants.
 */
export async function narrowToScope(scope: SelfScope): Promise<void> {
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
  const whole = await Deno.permissions.query({ name: kind } as Deno.PermissionDescriptor);
  // A binary compiled with a list reports "prompt" for the whole kind.
  if (whole.state !== "granted") return;
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
