/**
 * What the activity store promises on every database, as tests that each of them runs.
 *
 * @module
 */
import type { ActivityContract } from "./activity/bench.ts";
import { canceling } from "./activity/canceling.ts";
import { failing } from "./activity/failing.ts";
import { finding } from "./activity/finding.ts";
import { migrating } from "./activity/migrating.ts";
import { producing } from "./activity/producing.ts";
import { reading } from "./activity/reading.ts";
import { recording } from "./activity/recording.ts";
import { writing } from "./activity/writing.ts";

export type { ActivityContract, ActivityGround } from "./activity/bench.ts";

/** Registers all tests of the contract for one database. */
export function activityContract(contract: ActivityContract): void {
  migrating(contract);
  producing(contract);
  writing(contract);
  canceling(contract);
  reading(contract);
  recording(contract);
  finding(contract);
  failing(contract);
}
