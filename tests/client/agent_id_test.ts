import { agentIdFrom } from "@agentexec/core";
import { TaskConflictError } from "../../src/errors.ts";
import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { recordLogs } from "../support/pools.ts";
import { makeBench } from "./support.ts";

Deno.test("agentIdFrom() gives one id for one key, for ever, and another in another namespace", () => {
  // Written down: an id that changed would enqueue every task again.
  assertEquals(agentIdFrom("send_invoice:42"), "cfd8c16c-884b-591e-be05-04971355bf3e");
  assertEquals(agentIdFrom("send_invoice:42"), agentIdFrom("send_invoice:42"));
  assertTrue(agentIdFrom("send_invoice:42") !== agentIdFrom("send_invoice:43"));
  assertMatch(
    agentIdFrom("é 😀 " + "x".repeat(10_000)),
    /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab]/,
  );
  // The example of RFC 9562, appendix A.4, and the same namespace in capitals.
  const dns = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
  for (const namespace of [dns, dns.toUpperCase()]) {
    assertEquals(
      agentIdFrom("www.example.com", { namespace }),
      "2ed6657d-e927-568b-95e1-2665a8aea6a2",
    );
  }
});

Deno.test("a task whose id is made from a key is accepted once, and another context is a conflict", async () => {
  await using _ = await recordLogs();
  await using bench = await makeBench();
  const { client } = bench;
  const agentId = agentIdFrom("send_invoice:42");
  for (let times = 0; times < 3; times++) {
    const task = await client.enqueue("send_invoice", { customer: 42 }, { agentId });
    assertEquals(task.agentId, agentId);
  }
  assertEquals(await client.activity.count(), 1);
  assertEquals((await client.depth()).waiting, 1);
  await assertRejects(
    () => client.enqueue("send_invoice", { customer: 43 }, { agentId }),
    TaskConflictError,
  );
});

Deno.test("agentIdFrom() names what is no key and no namespace", () => {
  for (const key of ["", 5, undefined, null, {}]) {
    const error = assertThrows(() => agentIdFrom(key as string), TypeError);
    assertMatch(error.message, /^Cannot make an id: the key must be a text that is not empty, /);
  }
  assertThrows(() => agentIdFrom("\ud800"), TypeError);
  const error = assertThrows(() => agentIdFrom("x", { namespace: "invoices" }), TypeError);
  assertEquals(
    error.message,
    `Cannot use 'namespace': it must be a UUID, current value is "invoices"`,
  );
});
