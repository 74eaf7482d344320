import { assertEquals } from "../support/assert.ts";
import plugin from "../../tools/lint_rooms.ts";

/** The rules, without the plugin's name, that the text breaks when it stands in that file. */
function brokenRules(file: string, text: string): string[] {
  const path = new URL(`../../${file}`, import.meta.url).pathname;
  return Deno.lint.runPlugin(plugin, path, text).map(({ id }) => id.replace("rooms/", ""));
}

/** Asserts that each text breaks the rule in that file, and no other rule. */
function assertBreaks(rule: string, file: string, texts: readonly string[]): void {
  for (const text of texts) assertEquals([...new Set(brokenRules(file, text))], [rule], text);
}

/** Asserts that the texts are fine in that file. */
function assertFine(file: string, texts: readonly string[]): void {
  for (const text of texts) assertEquals(brokenRules(file, text), [], `${file}: ${text}`);
}

Deno.test("import-direction lets each room import what stands below it", () => {
  assertFine("src/config.ts", [`import { ConfigError } from "./errors.ts";`]);
  assertFine("src/task/definition.ts", [
    `import { x } from "../clock.ts";`,
    `import { x } from "./context.ts";`,
    `import type { Kysely } from "kysely";`,
  ]);
  assertFine("src/broker/redis/redis_broker.ts", [
    `import { x } from "../../task/codec.ts";`,
    `import { x } from "../broker.ts";`,
  ]);
  assertFine("src/broker/redis/drivers/node_redis.ts", [
    `import { createClient } from "@redis/client";`,
  ]);
  assertFine("src/worker/loop.ts", [
    `import { x } from "../broker/broker.ts";`,
    `import { x } from "../process/handshake.ts";`,
  ]);
  assertFine("src/client/client.ts", [`import { x } from "../activity/store.ts";`]);
  assertFine("src/pool/pool.ts", [
    `import { x } from "../client/client.ts";`,
    `import { x } from "../process/child.ts";`,
    `export function load() { return import("../worker/main.ts"); }`,
  ]);
  assertFine("src/stores/stores.ts", [`import { x } from "../activity/store.ts";`]);
  assertFine("src/init/main.ts", [`import manifest from "../../deno.json" with { type: "json" };`]);
  assertFine("src/testing/kit.ts", [
    `import { x } from "../pool/pool.ts";`,
    `import { x } from "../worker/run.ts";`,
    `import { x } from "../broker/sqlite/sqlite_broker.ts";`,
  ]);
  assertFine("tests/a_test.ts", [
    `import { x } from "@agentexec/core";`,
    `import { x } from "../src/pool/pool.ts";`,
  ]);
});

Deno.test("import-direction refuses imports upward, sideways and of the package itself", () => {
  assertBreaks("import-direction", "src/config.ts", [`import { x } from "./task/definition.ts";`]);
  assertBreaks("import-direction", "src/task/definition.ts", [
    `import { x } from "../broker/broker.ts";`,
    `import type { X } from "../broker/broker.ts";`,
    `export { x } from "../activity/store.ts";`,
    `export type X = import("../activity/store.ts").X;`,
    `import { Kysely } from "kysely";`,
  ]);
  assertBreaks("import-direction", "src/broker/broker.ts", [
    `import { x } from "../activity/store.ts";`,
    `import { x } from "../log/loggers.ts";`,
    `import { Kysely } from "kysely";`,
  ]);
  assertBreaks("import-direction", "src/broker/redis/failure.ts", [
    `import { ErrorReply } from "@redis/client";`,
    `import type { RedisClientType } from "@redis/client";`,
  ]);
  assertBreaks("import-direction", "src/process/child.ts", [
    `import { x } from "../task/definition.ts";`,
    `import { z } from "zod";`,
  ]);
  assertBreaks("import-direction", "src/worker/loop.ts", [
    `import { x } from "../client/client.ts";`,
    `import { x } from "../pool/pool.ts";`,
    `import { x } from "../process/child.ts";`,
  ]);
  assertBreaks("import-direction", "src/client/client.ts", [
    `import { x } from "../pool/pool.ts";`,
    `import { x } from "../worker/loop.ts";`,
    `import { x } from "../../mod.ts";`,
    `import { x } from "@agentexec/core";`,
    `import { x } from "@agentexec/core/testing";`,
  ]);
  assertBreaks("import-direction", "src/testing/kit.ts", [
    `import { x } from "../init/main.ts";`,
    `import { DatabaseSync } from "node:sqlite";`,
  ]);
  assertBreaks("import-direction", "src/pool/pool.ts", [
    `import { x } from "../testing/kit.ts";`,
    `import { x } from "../worker/main.ts";`,
    `export function load() { return import("../worker/loop.ts"); }`,
  ]);
  assertBreaks("import-direction", "src/utils/text.ts", [`import { x } from "../errors.ts";`]);
});

Deno.test("import-direction refuses packages that are not from npm, everywhere", () => {
  assertBreaks("import-direction", "tests/a_test.ts", [
    `import { delay } from "jsr:@std/async";`,
    `import { x } from "https://deno.land/x/y.ts";`,
  ]);
});

Deno.test("clock lets only src/clock.ts touch timers and the wall clock", () => {
  const texts = [
    `export function a() { setTimeout(() => {}, 1); }`,
    `export function a() { return globalThis.setInterval; }`,
    `export function a() { return Date.now(); }`,
    `import { setTimeout as wait } from "node:timers/promises";`,
  ];
  assertBreaks("clock", "src/pool/pool.ts", texts);
  assertFine("src/clock.ts", texts);
  assertFine("src/pool/pool.ts", [`export const options = { setTimeout: 1 };`]);
});

Deno.test("no-bare-error asks for an error that a caller can tell apart", () => {
  assertBreaks("no-bare-error", "src/pool/pool.ts", [
    `export function a() { throw new Error("x"); }`,
    `export function a() { throw Error("x"); }`,
  ]);
  assertFine("src/pool/pool.ts", [
    `export function a() { throw new TypeError("x"); }`,
    `export function a() { return new Error("x").stack; }`,
  ]);
  assertFine("tests/a_test.ts", [`throw new Error("x");`]);
});

Deno.test("portable keeps Deno and Temporal out of what runs on Node.js", () => {
  const rooms = [
    "program",
    "sqlite",
    "task",
    "broker",
    "activity",
    "stores",
    "lifecycle",
    "client",
  ];
  for (const file of ["src/config.ts", ...rooms.map((room) => `src/${room}/a.ts`)]) {
    assertBreaks("portable", file, [
      `export const a = Deno.pid;`,
      `export type A = Temporal.Duration;`,
      `export const a = typeof Deno;`,
      `export const a = Promise.withResolvers();`,
    ]);
    assertFine(file, [
      `export const a = { Deno: 1 };`,
      `/** Runs on Deno. */\nexport const a = 1;`,
    ]);
  }
  assertFine("src/pool/a.ts", [`export const a = Deno.pid;`]);
});

Deno.test("no-console keeps the library off the console, but for its commands", () => {
  assertBreaks("no-console", "src/pool/a.ts", [`console.log("x");`]);
  assertFine("src/init/main.ts", [`console.log("x");`]);
});

Deno.test("no-raw-sql keeps text out of queries", () => {
  assertBreaks("no-raw-sql", "src/activity/a.ts", [`sql.raw("x");`, `sql.lit("x");`]);
  assertFine("src/activity/a.ts", [`sql.ref("x");`]);
});

Deno.test("no-sleep-in-tests refuses fixed waits outside support and fixtures", () => {
  const texts = [`await delay(5);`, `setTimeout(() => {}, 5);`, `await pause(5);`];
  assertBreaks("no-sleep-in-tests", "tests/pool/a_test.ts", texts);
  assertFine("tests/support/a.ts", texts);
  assertFine("tests/fixtures/a.ts", texts);
});

Deno.test("no-export-star and no-default-export ask for names", () => {
  assertBreaks("no-export-star", "mod.ts", [`export * from "./src/errors.ts";`]);
  assertBreaks("no-default-export", "src/pool/a.ts", [`export default 1;`]);
});

Deno.test("one-way refuses the second way to write a thing", () => {
  assertBreaks("one-way", "src/pool/a.ts", [
    `export enum A { B }`,
    `export const a = () => 1;`,
    `const a = () => 1;\na();`,
    `export class A { private b = 1; }`,
    `export class A { protected b() {} }`,
    `export class A { constructor(readonly b: string) {} }`,
  ]);
  assertFine("src/pool/a.ts", [
    `export class A { #b = 1; private constructor() {} }`,
    `export function a() { const b = () => 1; return b(); }`,
  ]);
});
