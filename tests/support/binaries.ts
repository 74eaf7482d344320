/**
 * The programs that the tests need beside Deno: where they are, and how they get there.
 *
 * @module
 */

/** A program that the tests run, and the Debian package it comes in. */
const PACKAGES = {
  "redis-server": "redis-server",
  "redis-cli": "redis-tools",
  "postgres": "postgresql",
  "initdb": "postgresql",
  "pgbouncer": "pgbouncer",
  // A slim Debian image has neither.
  "openssl": "openssl",
  "ps": "procps",
  "strace": "strace",
} as const;

/** What there is on Linux alone; the tests that use it are not there elsewhere. */
const LINUX_ONLY: readonly string[] = ["strace"];

/** The name of a program that {@linkcode binary} knows how to find. */
export type BinaryName = keyof typeof PACKAGES;

/**
 * The path of a program; where it is missing and the machine is Debian with root it is installed, else
 * the error names the command.
 */
export async function binary(name: BinaryName): Promise<string> {
  const found = find(name);
  if (found !== null) return found;
  await install([PACKAGES[name]]);
  const installed = find(name);
  if (installed === null) {
    throw new Error(`Cannot find '${name}', although its package ${PACKAGES[name]} is installed`);
  }
  return installed;
}

/** Installs what is missing of all that the tests need, in one go. */
export async function ensureBinaries(): Promise<void> {
  const missing = new Set(
    Object.entries(PACKAGES)
      .filter(([name]) => Deno.build.os === "linux" || !LINUX_ONLY.includes(name))
      .filter(([name]) => find(name) === null)
      .map(([, packageName]) => packageName),
  );
  if (missing.size > 0) await install([...missing]);
}

/** Looks through PATH, then where Debian and Homebrew keep what they leave out of it. */
function find(name: string): string | null {
  const folders = [
    ...(Deno.env.get("PATH") ?? "").split(":"),
    "/usr/sbin",
    "/usr/local/sbin",
    ...versions("/usr/lib/postgresql", /^\d+$/),
    ...versions("/opt/homebrew/opt", /^postgresql(@\d+)?$/),
    ...versions("/usr/local/opt", /^postgresql(@\d+)?$/),
  ];
  return folders.filter((folder) => folder !== "")
    .map((folder) => `${folder}/${name}`)
    .find(isFile) ?? null;
}

/** The `bin` folders of the versions installed below `folder`, the newest first. */
function versions(folder: string, pattern: RegExp): string[] {
  try {
    return [...Deno.readDirSync(folder)]
      .map((entry) => entry.name)
      .filter((name) => pattern.test(name))
      .sort((a, b) => b.localeCompare(a, "en", { numeric: true }))
      .map((name) => `${folder}/${name}/bin`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false; // Not there, or in a folder of PATH that may not be read: not here then.
  }
}

async function install(packages: readonly string[]): Promise<void> {
  const command = `apt-get update && apt-get install -y ${packages.join(" ")}`;
  const debian = Deno.build.os === "linux" && isFile("/usr/bin/apt-get");
  if (!debian || Deno.uid() !== 0) {
    throw new Error(`Cannot go on without ${packages.join(", ")}: install with ${command}`);
  }
  console.error(`Installing ${packages.join(", ")}: ${command}`);
  await apt(["update"]);
  // The packages start services of their own where an init runs. The tests never use them.
  await apt(["install", "-y", "--no-install-recommends", ...packages]);
}

async function apt(args: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await new Deno.Command("apt-get", {
    args: [...args],
    env: { DEBIAN_FRONTEND: "noninteractive" },
    stdin: "null",
  }).output();
  if (code === 0) return;
  const decoder = new TextDecoder();
  throw new Error(
    `Cannot install: apt-get ${args.join(" ")} ended with code ${code}\n` +
      decoder.decode(stdout) + decoder.decode(stderr),
  );
}
