/**
 * Warnings of a client: it has no output of its own.
 *
 * @module
 */
import process from "node:process";
import { getConfig } from "@logtape/logtape";
import { emitLine } from "../log/loggers.ts";

/** Through LogTape where the program configured it, else as the runtime shows warnings, on standard error. */
export function warn(text: string): void {
  if (getConfig() === null) process.emitWarning(text, "AgentexecWarning");
  else emitLine({ category: ["agentexec", "client"], level: "warning", text, properties: {} });
}
