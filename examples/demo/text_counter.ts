/**
 * Counts what a text holds, piece by piece, so that a file of any size fits.
 *
 * @module
 */

/** What was counted. */
export interface TextCounts {
  /** Lines; a last one without a line break counts too. */
  readonly lines: number;
  /** Words: what stands between white space. */
  readonly words: number;
  /** The number (from 1) and the length in characters of the longest line; both 0 in an empty text. */
  readonly longestLine: { readonly number: number; readonly length: number };
  /** The words of letters that come most often, in lower case, most frequent first. */
  readonly frequentWords: readonly { readonly word: string; readonly count: number }[];
}

/** Shorter ones ("a", "of", "if") say nothing of a text. */
const SHORTEST_FREQUENT_WORD = 3;
const FREQUENT_WORDS = 5;

/** Takes a text in pieces, cut anywhere, and counts it. */
export class TextCounter {
  readonly #frequency = new Map<string, number>();
  #words = 0;
  /** The beginning of a word whose end the next piece may bring. */
  #unfinished = "";
  #line = 1;
  #lineLength = 0;
  #lineIsEmpty = true;
  #longest = { number: 0, length: 0 };

  /** Counts a piece. */
  add(piece: string): void {
    this.#countLines(piece);
    const end = endOfLastSpace(piece);
    if (end > 0) {
      this.#countWords(this.#unfinished + piece.slice(0, end));
      this.#unfinished = "";
    }
    this.#unfinished += piece.slice(end);
  }

  /** What all pieces held together. No piece may follow. */
  finish(): TextCounts {
    this.#countWords(this.#unfinished);
    this.#unfinished = "";
    if (!this.#lineIsEmpty) this.#measure();
    return {
      lines: this.#lineIsEmpty ? this.#line - 1 : this.#line,
      words: this.#words,
      longestLine: this.#longest,
      frequentWords: [...this.#frequency]
        .map(([word, count]) => ({ word, count }))
        .sort((a, b) => b.count - a.count || (a.word < b.word ? -1 : 1))
        .slice(0, FREQUENT_WORDS),
    };
  }

  #countLines(piece: string): void {
    const [first = "", ...others] = piece.split("\n");
    this.#extendLine(first);
    for (const other of others) {
      this.#measure();
      this.#line++;
      this.#lineLength = 0;
      this.#lineIsEmpty = true;
      this.#extendLine(other);
    }
  }

  #extendLine(part: string): void {
    if (part === "") return;
    this.#lineIsEmpty = false;
    // A character outside the basic plane is two code units, and "\r" belongs to the line break.
    const notCounted = part.match(/[\udc00-\udfff\r]/g)?.length ?? 0;
    this.#lineLength += part.length - notCounted;
  }

  #measure(): void {
    if (this.#longest.number > 0 && this.#lineLength <= this.#longest.length) return;
    this.#longest = { number: this.#line, length: this.#lineLength };
  }

  #countWords(text: string): void {
    this.#words += text.match(/\S+/g)?.length ?? 0;
    for (const [match] of text.matchAll(/\p{L}[\p{L}\p{M}\p{N}_]*/gu)) {
      if (match.length < SHORTEST_FREQUENT_WORD) continue;
      const word = match.toLowerCase();
      this.#frequency.set(word, (this.#frequency.get(word) ?? 0) + 1);
    }
  }
}

/** Where the last white space ends; 0 where there is none. */
function endOfLastSpace(text: string): number {
  let end = text.length;
  while (end > 0 && !/\s/.test(text.charAt(end - 1))) end--;
  return end;
}
