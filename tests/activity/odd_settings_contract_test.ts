import { activityContract } from "../contract/activity_contract.ts";
import { oddGround } from "./grounds.ts";

activityContract({ name: "Postgres with odd settings", ground: oddGround });
