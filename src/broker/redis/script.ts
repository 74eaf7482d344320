/**
 * A Lua script and how it is called: by its hash, and by its text where the server does not know it.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Reply } from "./reply.ts";

/** What a script needs of a connection. */
export interface Commands {
  /** The address as it may be shown. */
  readonly address: string;
  /**
   * Sends a command. `doing` completes "Cannot …" in the error's message.
   *
   * @throws {ConnectionError} If no answer came in time, or the server cannot do it now.
   */
  call(args: readonly string[], doing: string): Promise<Reply>;
  /** Runs a script by its hash, and by its text where the server does not know it. */
  run(script: Script, call: ScriptCall): Promise<Reply>;
}

/** How one script is called. */
export interface ScriptCall {
  /** The queue's list: `KEYS[1]`, of whose slot all keys are. */
  readonly key: string;
  /** `ARGV`. Numbers are whole. */
  readonly args: readonly (string | number)[];
  /** Completes "Cannot …" in the error's message. */
  readonly doing: string;
}

/** A Lua script. */
export interface Script {
  /** The Lua text. */
  readonly source: string;
  /** Its SHA-1, by which the server knows it. */
  readonly sha: string;
}

/** What a script is allowed to do. */
export interface ScriptOptions {
  /**
   * `allow-oom`: it runs when Redis is full too, since it gives memory back or settles what runs.
   * `no-writes`: it only reads. Both are checked by Redis before the first line runs.
   *
   * @default {undefined} (refused when Redis is full)
   */
  readonly flags?: "allow-oom" | "no-writes";
}

/** Makes a script of its parts. */
export function defineScript(parts: readonly string[], options: ScriptOptions = {}): Script {
  const { flags } = options;
  const shebang = flags === undefined ? "#!lua" : `#!lua flags=${flags}`;
  const source = [shebang, ...parts].join("\n");
  return { source, sha: createHash("sha1").update(source).digest("hex") };
}
