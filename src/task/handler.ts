/**
 * Handlers as they are declared: what is no handler is refused there, and not when the first task runs.
 *
 * @module
 */
import { types } from "node:util";
import { kindOf } from "../show.ts";
import type { TaskHandler } from "./definition.ts";

/**
 * A task's handler.
 *
 * @throws {TypeError} If it is no function, or one that a call does not run: a generator, a class.
 */
export function checkHandler(name: string, handler: unknown): TaskHandler {
  const failure = `Cannot declare task '${name}'`;
  if (typeof handler !== "function") {
    throw new TypeError(
      `${failure}: the handler must be a function and comes last, current value is ${
        kindOf(handler)
      }`,
    );
  }
  const generator = generatorKind(handler);
  if (generator !== undefined) {
    throw new TypeError(
      `${failure}: the handler is ${generator}, whose body a call does not run; make it an async function that ` +
        `returns the result, and tell of its steps by activity.update()`,
    );
  }
  if (/^class\b/.test(Function.prototype.toString.call(handler))) {
    throw new TypeError(
      `${failure}: the handler is a class; make it a function, such as (run) => new Handler().handle(run)`,
    );
  }
  return handler as TaskHandler;
}

/** The tag is inherited by what is bound to one; the slot is there if the tag was taken away. */
function generatorKind(handler: object): string | undefined {
  const tag = Object.prototype.toString.call(handler).slice(8, -1);
  if (tag === "AsyncGeneratorFunction") return "an async generator function";
  return tag === "GeneratorFunction" || types.isGeneratorFunction(handler)
    ? "a generator function"
    : undefined;
}
