/**
 * Finds the text and source files of a folder.
 *
 * @module
 */

/** What was found below a folder. */
export interface FoundFiles {
  /** The text files, sorted, relative to the folder. */
  readonly files: readonly string[];
  /** How many files are no text and were left out. */
  readonly binary: number;
  /** Folders that cannot be read, relative to the folder. */
  readonly closedFolders: readonly string[];
}

/** Folders of tools: other people's files, or the demo's own. */
const SKIPPED_FOLDERS = [".git", "node_modules", ".agentexec"];

/** As Git does it: a file with a NUL among its first bytes is no text. */
const BYTES_TO_LOOK_AT = 8_000;

/** Looks through a folder and all below it. Symbolic links are not followed. */
export async function findFiles(directory: string): Promise<FoundFiles> {
  const files = new Set<string>();
  const closedFolders: string[] = [];
  let binary = 0;
  const folders = [""];
  // Grows while it is read.
  for (const folder of folders) {
    try {
      for await (const { name, isDirectory, isFile } of Deno.readDir(`${directory}/${folder}`)) {
        const path = `${folder}${name}`;
        if (isDirectory && !SKIPPED_FOLDERS.includes(name)) folders.push(`${path}/`);
        if (!isFile) continue;
        if (await isBinary(`${directory}/${path}`)) binary++;
        else files.add(path);
      }
    } catch (error) {
      // The folder that was asked for is another matter than one somewhere below it.
      if (folder === "" || !isFileSystemError(error)) throw error;
      closedFolders.push(folder);
    }
  }
  return { files: [...files].sort(), binary, closedFolders: closedFolders.sort() };
}

/** A file that cannot be read counts as text: its own task shall fail, and say why. */
async function isBinary(path: string): Promise<boolean> {
  try {
    using file = await Deno.open(path);
    const bytes = new Uint8Array(BYTES_TO_LOOK_AT);
    const length = await file.read(bytes) ?? 0;
    return bytes.subarray(0, length).includes(0);
  } catch (error) {
    if (isFileSystemError(error)) return false;
    throw error;
  }
}

/** Whether the operating system refused something. Deno has classes for the common reasons alone. */
export function isFileSystemError(error: unknown): error is Error {
  return error instanceof Error && /\(os error \d+\)/.test(error.message);
}
