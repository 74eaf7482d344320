import { activityContract } from "../contract/activity_contract.ts";
import { sqliteGround } from "./grounds.ts";

activityContract({ name: "SQLite", ground: sqliteGround });
