/**
 * The declarations of the tasks: what producers and workers both import. Nothing here runs, connects, or
 * needs a permission.
 *
 * @module
 */
import { defineTask } from "@agentexec/core";
import { z } from "zod";

/** Answers questions about a company, one after the other. In the queue of whoever enqueues it. */
export const research = defineTask("research_company", {
  context: z.object({ company: z.string().min(1), questions: z.array(z.string()).default([]) }),
  result: z.object({ answers: z.array(z.string()) }),
});

/** Answers a customer who is waiting. In a queue of its own. */
export const answerCustomer = defineTask("answer_customer", {
  queue: "urgent",
  context: z.object({ question: z.string() }),
  result: z.object({ answer: z.string() }),
});

/** Counts the words of a document. In a queue of its own, behind nobody who is in a hurry. */
export const indexDocument = defineTask("index_document", {
  queue: "background",
  context: z.object({ file: z.string() }),
  result: z.object({ words: z.number() }),
});
