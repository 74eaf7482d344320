/**
 * What the kernel says about the processes of this machine. Deno lets a program read `/proc` only with
 * every permission granted, so a shell reads it.
 *
 * @module
 */

import process from "node:process";

/** One process that has not ended. */
export interface ProcessEntry {
  /** Its id. */
  readonly pid: number;
  /** The id of its parent. */
  readonly parent: number;
  /** The id of its process group. */
  readonly group: number;
  /** The name of its program. */
  readonly name: string;
}

/**
 * Whether the process lives. One that has ended and only waits for its parent to notice does not: in a
 * container without an init such a process stays in the table for ever.
 */
export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false; // Cheap, and the usual answer of those who wait for an end.
  }
  if (Deno.build.os !== "linux") return fromPs().some((entry) => entry.pid === pid);
  return parseProc(output("cat", [`/proc/${pid}/stat`])).length === 1;
}

/** The ids of all living processes below `pid`, parents before their children. */
export function childrenOf(pid: number): number[] {
  const table = processTable();
  const found = [pid];
  for (const parent of found) {
    for (const entry of table) if (entry.parent === parent) found.push(entry.pid);
  }
  return found.slice(1);
}

/** All living processes of a process group. */
export function groupOf(pgid: number): number[] {
  return processTable().filter((entry) => entry.group === pgid).map((entry) => entry.pid);
}

/** All living processes. */
export function processTable(): ProcessEntry[] {
  return Deno.build.os === "linux" ? fromProc() : fromPs();
}

/** Sends a signal; a process that is gone already is none of the caller's business. */
export function signalProcess(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function fromProc(): ProcessEntry[] {
  return parseProc(output("sh", ["-c", "exec cat /proc/[0-9]*/stat"]));
}

function parseProc(text: string): ProcessEntry[] {
  const entries: ProcessEntry[] = [];
  for (const line of text.split("\n")) {
    // "pid (name) state ppid pgrp …", where the name may hold spaces and parentheses.
    const match = /^(\d+) \((.*)\) (\S) (\d+) (\d+) /.exec(line);
    if (match === null || match[3] === "Z" || match[3] === "X") continue;
    entries.push({
      pid: Number(match[1]),
      parent: Number(match[4]),
      group: Number(match[5]),
      name: match[2] ?? "",
    });
  }
  return entries;
}

function fromPs(): ProcessEntry[] {
  const entries: ProcessEntry[] = [];
  for (const line of output("ps", ["-A", "-o", "pid=,ppid=,pgid=,stat=,comm="]).split("\n")) {
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line);
    if (match === null || match[4]?.startsWith("Z")) continue;
    entries.push({
      pid: Number(match[1]),
      parent: Number(match[2]),
      group: Number(match[3]),
      name: match[5] ?? "",
    });
  }
  return entries;
}

function output(program: string, args: string[]): string {
  const { stdout } = new Deno.Command(program, { args, stderr: "null" }).outputSync();
  return new TextDecoder().decode(stdout);
}
