/**
 * The broker contract with each connection in a process of its own.
 *
 * @module
 */
import { BrokerProcesses } from "../../support/broker_process.ts";
import type { BrokerProcess } from "../../support/broker_process.ts";
import type { BrokerContract } from "./bench.ts";

/** As many connections as any test of the contract has at a time. */
const MOST_CONNECTIONS = 5;

/** The same contract, to be registered once more: every broker of it lives in another process. */
export function inProcesses(contract: BrokerContract): BrokerContract {
  const processes = new BrokerProcesses(MOST_CONNECTIONS);
  // Outside the tests, whose sanitizers would take them for leaks.
  Deno.test.beforeAll(() => processes.start());
  Deno.test.afterAll(() => processes.stop());
  return {
    ...contract,
    name: `${contract.name}, each connection a process`,
    async open() {
      const ground = await contract.open();
      const taken: BrokerProcess[] = [];
      return {
        ...ground,
        broker() {
          const process = processes.take();
          taken.push(process);
          return process.broker(ground.url);
        },
        async [Symbol.asyncDispose]() {
          await processes.giveBack(taken);
          await ground[Symbol.asyncDispose]();
        },
      };
    },
  };
}
