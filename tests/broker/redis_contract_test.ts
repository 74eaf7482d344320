import { brokerContract, inProcesses } from "../contract/broker_contract.ts";
import { redisContract } from "./redis_ground.ts";

brokerContract(redisContract("RedisBroker"));
brokerContract(inProcesses(redisContract("RedisBroker")));
