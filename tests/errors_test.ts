import {
  ActivityOwnedError,
  AgentexecError,
  EnqueueError,
  EnqueueUncertainError,
  ResultExpiredError,
  ResultTimeoutError,
  TaskCanceledError,
  TaskConflictError,
  TaskError,
  TaskFailedError,
} from "@agentexec/core";
import { assertEquals, assertTrue } from "./support/assert.ts";

const AGENT_ID = "0198c5a2-7d3e-7c4b-9a51-3f6f0f1f2a3b";

const ABOUT_ONE_TASK = {
  ActivityOwnedError,
  EnqueueError,
  EnqueueUncertainError,
  ResultExpiredError,
  ResultTimeoutError,
  TaskCanceledError,
  TaskConflictError,
  TaskError,
};

Deno.test("an error about one task is a TaskError, carries the task's id and keeps its name", () => {
  const cause = new Error("before");
  const errors = Object.entries(ABOUT_ONE_TASK).map(([name, Class]) =>
    [name, new Class("no", { agentId: AGENT_ID, cause })] as const
  );
  const failed = new TaskFailedError("no", {
    ...{ agentId: AGENT_ID, taskName: "ping", attempts: 2, cause },
  });
  for (const [name, error] of [...errors, ["TaskFailedError", failed] as const]) {
    assertTrue(error instanceof TaskError, name);
    assertTrue(error instanceof AgentexecError, name);
    assertEquals(
      [error.name, error.agentId, error.message, error.cause],
      [name, AGENT_ID, "no", cause],
    );
  }
  assertTrue(new EnqueueUncertainError("?", { agentId: AGENT_ID }) instanceof EnqueueError);
  assertEquals([failed.taskName, failed.attempts], ["ping", 2]);
});
