/**
 * The report as a table: a row for each of the largest files, or for each of all, and totals.
 *
 * @module
 */
import { printable } from "./screen.ts";
import type { FileCounts, Report } from "./tasks.ts";

interface Column {
  readonly title: string;
  readonly align: "left" | "right";
  readonly of: (file: FileCounts) => string;
}

const NUMBER = new Intl.NumberFormat("en-GB");

const COLUMNS: readonly Column[] = [
  { title: "file", align: "left", of: ({ path }) => printable(path) },
  { title: "bytes", align: "right", of: ({ bytes }) => NUMBER.format(bytes) },
  { title: "lines", align: "right", of: ({ lines }) => NUMBER.format(lines) },
  { title: "words", align: "right", of: ({ words }) => NUMBER.format(words) },
  {
    title: "longest line",
    align: "right",
    of: ({ longestLine: { number, length } }) =>
      number === 0 ? "" : `${NUMBER.format(length)} in line ${number}`,
  },
  {
    title: "frequent words",
    align: "left",
    of: ({ frequentWords }) =>
      printable(frequentWords.map(({ word, count }) => `${word} ${count}`).join(", ")),
  },
];

/** How many files have a row unless all are asked for. */
const LARGEST = 10;

/** What {@linkcode formatReport} may be told. */
export interface ReportOptions {
  /** Whether each file has a row, and not only the ten largest. */
  readonly all: boolean;
}

/** The lines of the table, those of the files that could not be analyzed, and the totals. */
export function formatReport({ analyzed, failed }: Report, { all }: ReportOptions): string {
  const shown = all ? analyzed : analyzed.slice(0, LARGEST);
  const left = analyzed.length - shown.length;
  const cells = shown.map((file) => COLUMNS.map((column) => column.of(file)));
  const widths = COLUMNS.map(({ title }, index) =>
    cells.reduce((width, row) => Math.max(width, (row[index] ?? "").length), title.length)
  );
  const line = (row: readonly string[]) =>
    COLUMNS.map(({ align }, index) => {
      const [cell, width] = [row[index] ?? "", widths[index] ?? 0];
      return align === "left" ? cell.padEnd(width) : cell.padStart(width);
    }).join("  ").trimEnd();
  return [
    line(COLUMNS.map(({ title }) => title)),
    line(widths.map((width) => "-".repeat(width))),
    ...cells.map(line),
    ...(left === 0 ? [] : [`and ${NUMBER.format(left)} smaller files, which --all shows`]),
    ...failed.map(({ path, reason }) => `${printable(path)}  not analyzed: ${printable(reason)}`),
    "",
    totals(analyzed),
    `${analyzed.length + failed.length} files: ` +
    `${analyzed.length} analyzed, ${failed.length} failed`,
  ].join("\n");
}

function totals(analyzed: readonly FileCounts[]): string {
  const sum = (of: (file: FileCounts) => number) =>
    NUMBER.format(analyzed.reduce((total, file) => total + of(file), 0));
  return `${sum(({ bytes }) => bytes)} bytes, ${sum(({ lines }) => lines)} lines, ` +
    `${sum(({ words }) => words)} words`;
}
