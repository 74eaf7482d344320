import { activityContract } from "../contract/activity_contract.ts";
import { postgresGround } from "./grounds.ts";

activityContract({ name: "Postgres", ground: postgresGround });
