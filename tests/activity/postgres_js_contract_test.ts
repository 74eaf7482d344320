import { activityContract } from "../contract/activity_contract.ts";
import { postgresJsGround } from "./grounds.ts";

activityContract({ name: "kysely-postgres-js by `db`", ground: postgresJsGround });
