/**
 * What this process may do, as Deno says it; on Node.js, which has no such limits, everything.
 *
 * @module
 */

/** What is needed, each an entry of the list of a flag. */
export interface Rights {
  /** Addresses. */
  readonly net?: readonly string[];
  /** Paths to read. */
  readonly read?: readonly string[];
  /** Paths to write. */
  readonly write?: readonly string[];
  /** A program to start. */
  readonly run?: readonly string[];
}

const MEMBERS = { net: "host", read: "path", write: "path", run: "command" } as const;

interface Permissions {
  query(descriptor: object): Promise<{ readonly state: string }>;
  request(descriptor: object): Promise<{ readonly state: string }>;
}

/**
 * The flags that would grant what this process lacks, to be pasted; none if it lacks nothing. On a terminal Deno asks
 * the user first, unless it was told not to.
 */
export async function missingFlags(rights: Rights): Promise<readonly string[]> {
  const permissions = denoPermissions();
  if (permissions === undefined) return [];
  const flags: string[] = [];
  for (const name of ["net", "read", "write", "run"] as const) {
    const missing: string[] = [];
    for (const entry of new Set(rights[name] ?? [])) {
      const descriptor = { name, [MEMBERS[name]]: entry };
      const { state } = await permissions.query(descriptor);
      if (state === "granted") continue;
      if ((await permissions.request(descriptor)).state !== "granted") missing.push(entry);
    }
    if (missing.length > 0) flags.push(`--allow-${name}=${missing.map(quoted).join(",")}`);
  }
  return flags;
}

/** As a shell takes it. */
function quoted(entry: string): string {
  return /^[\w@%+=:,./~[\]*-]+$/.test(entry) ? entry : `'${entry.replaceAll("'", `'\\''`)}'`;
}

/** Asked by name, since Node.js has no such global. */
function denoPermissions(): Permissions | undefined {
  const deno: unknown = Reflect.get(globalThis, "Deno");
  return deno instanceof Object ? Reflect.get(deno, "permissions") as Permissions : undefined;
}

/** Whether Deno lacks a permission; a host name that may not be looked up is `EPERM`. */
export function isDenied(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isDenied);
  return error instanceof Error &&
    (error.name === "NotCapable" || Reflect.get(error, "code") === "EPERM");
}
