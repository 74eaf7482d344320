/**
 * A word on a permission that the program's own process lacks while it imports its modules: Deno ends it then, before
 * anything of the library is called, and its error names neither the entry nor the workers.
 *
 * @module
 */
import { deniedIn } from "../process/scope.ts";
import { role } from "../program/role.ts";

/** Begins to listen, if this is no worker. What is imported before the library fails unheard. */
export function listenForDenied(): void {
  // A producer on Node.js has no such thing, and no permissions either.
  if (role === "supervisor") globalThis.addEventListener?.("unhandledrejection", sayWhatToGrant);
}

/** Ends it: from its start on a pool says itself what it lacks. */
export function stopListeningForDenied(): void {
  globalThis.removeEventListener?.("unhandledrejection", sayWhatToGrant);
}

function sayWhatToGrant({ reason }: PromiseRejectionEvent): void {
  if (!(reason instanceof Deno.errors.NotCapable)) return;
  const denied = deniedIn(reason.message);
  if (denied === undefined) return;
  const { kind, entry } = denied;
  const list = entry === undefined ? "" : JSON.stringify(entry);
  // deno-lint-ignore no-console rooms/no-console -- no log is set up yet, and the process is about to end
  console.error(
    `This program lacks ${kind} access: start it with --allow-${kind}${
      entry === undefined ? "" : `=${entry}`
    }. What it asks for while its modules are evaluated, its workers need as well: permissions: { ${kind}: [${list}] }`,
  );
}
