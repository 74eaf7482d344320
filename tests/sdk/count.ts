/** A task declared with another library than zod: its types follow as zod's do. */
import { defineTask } from "@agentexec/core";
import * as v from "valibot";

const number = v.object({ n: v.pipe(v.string(), v.transform(Number), v.finite()) });

export const count = defineTask("count", { context: number, result: number });
