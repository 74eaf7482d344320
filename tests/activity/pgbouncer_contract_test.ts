import { activityContract } from "../contract/activity_contract.ts";
import { bouncerGround } from "./grounds.ts";

activityContract({ name: "Postgres behind PgBouncer", ground: bouncerGround });
