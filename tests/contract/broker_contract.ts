/**
 * What every broker promises, as tests that each implementation runs.
 *
 * @module
 */
import type { BrokerContract } from "./broker/bench.ts";
import { interleaving } from "./broker/interleaving.ts";
import { producing } from "./broker/producing.ts";
import { supervising } from "./broker/supervising.ts";
import { talking } from "./broker/talking.ts";
import { working } from "./broker/working.ts";

export type { BrokerContract, BrokerGround } from "./broker/bench.ts";
export { inProcesses } from "./broker/processes.ts";

/** Registers all tests of the contract for one implementation. */
export function brokerContract(contract: BrokerContract): void {
  producing(contract);
  working(contract);
  supervising(contract);
  talking(contract);
  interleaving(contract);
}
