import { failureOf, toConnectionError } from "../../src/activity/failure.ts";
import { AgentexecError, ConnectionError, MigrationError } from "../../src/errors.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";

/** An error as a driver makes it. */
function driverError(message: string, members: Record<string, unknown> = {}): Error {
  return Object.assign(new Error(message), members);
}

Deno.test("failureOf() tells apart what can be tried again, what cannot, and what is wrong with the data", () => {
  const cases: Record<ReturnType<typeof failureOf>, unknown[]> = {
    connection: [
      driverError("connect ECONNREFUSED", { code: "ECONNREFUSED" }),
      new AggregateError([driverError("", { code: "ECONNREFUSED" })], ""),
      driverError("terminating connection due to administrator command", { code: "57P01" }),
      driverError("the database system is starting up", { code: "57P03" }),
      driverError("sorry, too many clients already", { code: "53300" }),
      driverError("deadlock detected", { code: "40P01" }),
      driverError("cannot execute INSERT in a read-only transaction", { code: "25006" }),
      driverError("Connection terminated unexpectedly"),
      driverError("timeout expired"),
      driverError("write CONNECTION_CLOSED 127.0.0.1:1", { code: "CONNECTION_CLOSED" }),
      driverError("database is locked", { code: "ERR_SQLITE_ERROR", errcode: 5 }),
      driverError("database is locked", { code: "ERR_SQLITE_ERROR", errcode: 517 }),
      driverError("disk full", { code: "ERR_SQLITE_ERROR", errcode: 13 }),
      new AgentexecError("wrapped", { cause: driverError("", { code: "EPIPE" }) }),
    ],
    refused: [
      driverError("password authentication failed", { code: "28P01" }),
      driverError("no pg_hba.conf entry", { code: "28000" }),
      driverError("database does not exist", { code: "3D000" }),
      driverError("self-signed certificate", { code: "DEPTH_ZERO_SELF_SIGNED_CERT" }),
      driverError("SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string"),
      driverError("not a database", { code: "ERR_SQLITE_ERROR", errcode: 26 }),
      driverError("Requires net access", { name: "NotCapable" }),
    ],
    data: [
      driverError("invalid byte sequence", { code: "22021" }),
      driverError("duplicate key", { code: "23505" }),
      driverError("stack depth limit exceeded", { code: "54001" }),
      driverError("CHECK constraint failed", { code: "ERR_SQLITE_ERROR", errcode: 275 }),
      driverError("malformed JSON", { code: "ERR_SQLITE_ERROR", errcode: 1 }),
    ],
    unmigrated: [
      driverError("relation does not exist", { code: "42P01" }),
      driverError("no such table: x", { code: "ERR_SQLITE_ERROR", errcode: 1 }),
    ],
    other: [
      driverError("permission denied for table", { code: "42501" }),
      driverError("syntax error", { code: "ERR_SQLITE_ERROR", errcode: 1 }),
      // Triggers of somebody's that miss a table of theirs.
      driverError("relation does not exist", { code: "42P01", where: "PL/pgSQL function f()" }),
      driverError("no such table: main.x", { code: "ERR_SQLITE_ERROR", errcode: 1 }),
      new TypeError("x is not a function"),
      new MigrationError("ours"),
      "a string",
      undefined,
    ],
  };
  for (const [failure, errors] of Object.entries(cases)) {
    for (const error of errors) assertEquals(failureOf(error), failure, String(error));
  }
});

Deno.test("failureOf() ends with causes that go in a circle", () => {
  const error = driverError("a");
  error.cause = driverError("b", { cause: error });
  assertEquals(failureOf(error), "other");
});

Deno.test("toConnectionError() words the trouble for a caller, and leaves other errors alone", () => {
  const wrap = (error: unknown) => toConnectionError(error, "list activities", "postgres://h/d");
  const refused = driverError("connect ECONNREFUSED 127.0.0.1:1", { code: "ECONNREFUSED" });
  const connection = wrap(refused);
  assertTrue(connection instanceof ConnectionError && connection.retryable);
  assertEquals(
    connection.message,
    "Cannot list activities at postgres://h/d: connect ECONNREFUSED 127.0.0.1:1",
  );
  assertEquals(connection.cause, refused);
  const unmigrated = wrap(driverError('relation "x" does not exist', { code: "42P01" }));
  assertTrue(unmigrated instanceof MigrationError);
  assertTrue(unmigrated.message.includes("pool.migrate()"));
  const other = new RangeError("x");
  assertEquals(wrap(other), other);
  assertEquals(wrap(connection), connection);
});
