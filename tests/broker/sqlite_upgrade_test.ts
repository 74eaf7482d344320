import { claimOne, crew, only, register, sweepUntilTaken, task } from "../contract/broker/bench.ts";
import { parseBrokerUrl } from "../../src/addresses.ts";
import { openBroker } from "../../src/broker/open_broker.ts";
import { assertEquals } from "../support/assert.ts";
import { rawSqlite } from "./sqlite_audit.ts";

Deno.test("a file of the first version is brought up to this one, with all that it holds", async () => {
  const dir = await Deno.makeTempDir({ prefix: "agentexec-upgrade-" });
  const url = `sqlite:${dir}/broker.db`;
  const open = async () => {
    const broker = openBroker(parseBrokerUrl({ value: url, source: "the test" }));
    await broker.connect();
    const queue = broker.queue("jobs");
    await queue.open();
    return { broker, queue };
  };
  const before = await open();
  const dead = crew();
  await register(before.queue, dead, 1);
  await before.queue.enqueue([task()]);
  const one = await claimOne(before.queue, dead.workerIds[0], { leaseMs: 1 });
  await before.broker.close();
  {
    using database = rawSqlite(`${dir}/broker.db`);
    database.exec(`alter table agentexec_broker_supervisor drop column renewals;
      alter table agentexec_broker_supervisor drop column lease_ms;
      alter table agentexec_broker_queue drop column maintainer;
      alter table agentexec_broker_queue drop column maintained_until;
      drop table agentexec_broker_formerly;
      update agentexec_broker_schema set version = 1`);
  }
  const opened = await Promise.all([open(), open()]);
  const [{ queue }] = opened;
  assertEquals(only(await sweepUntilTaken(queue, crew())).id, one.id);
  await Promise.all(opened.map(({ broker }) => broker.close()));
  await Deno.remove(dir, { recursive: true });
});
