import { brokerContract, inProcesses } from "../contract/broker_contract.ts";
import { sqliteContract } from "./sqlite_ground.ts";

brokerContract(sqliteContract("SqliteBroker"));
brokerContract(inProcesses(sqliteContract("SqliteBroker")));
