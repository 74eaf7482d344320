/**
 * The assertions that the tests use, on Node's own.
 *
 * @module
 */
import assert from "node:assert/strict";

/** Fails unless both are deeply equal. */
export function assertEquals<T>(actual: T, expected: T, message?: string): void {
  if (message === undefined) assert.deepStrictEqual(actual, expected);
  else assert.deepStrictEqual(actual, expected, message);
}

/** Fails unless the condition is truthy. */
export function assertTrue(condition: unknown, message?: string): asserts condition {
  if (message === undefined) assert.ok(condition);
  else assert.ok(condition, message);
}

/** Fails unless the text matches. */
export function assertMatch(text: string, pattern: RegExp): void {
  assert.match(text, pattern);
}

/** Fails unless the call throws an error of the class; gives the error. */
export function assertThrows<E extends Error>(
  call: () => unknown,
  // deno-lint-ignore no-explicit-any -- constructors differ in their parameters
  type: new (...args: any[]) => E,
): E {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof type, `expected ${type.name}, got ${error}`);
    return error;
  }
  assert.fail(`expected ${type.name}, nothing was thrown`);
}

/** Fails unless the call rejects with an error of the class; gives the error. */
export async function assertRejects<E extends Error>(
  call: () => Promise<unknown>,
  // deno-lint-ignore no-explicit-any -- constructors differ in their parameters
  type: new (...args: any[]) => E,
): Promise<E> {
  try {
    await call();
  } catch (error) {
    assert.ok(error instanceof type, `expected ${type.name}, got ${error}`);
    return error;
  }
  assert.fail(`expected ${type.name}, nothing was thrown`);
}
