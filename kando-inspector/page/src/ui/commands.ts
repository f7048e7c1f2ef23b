/** The commands of `kando` that do what the page does, to copy into a terminal. */

import type { At } from "../data/source";

const PLAIN = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** Quote a word for a POSIX shell. */
export function quote(word: string): string {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Join words to a command of `kando`; words that a ledger holds cannot break out of it. */
export function kando(...words: (string | number)[]): string {
  return ["kando", ...words].map((word) => quote(oneLine(String(word)))).join(" ");
}

/** Return a run, or its first events: RUN@N. */
export function runAt(run: string, at: At): string {
  return at === null ? run : `${run}@${at}`;
}

/** Return the command that shows an event and its causes. */
export function traceCommand(run: string, event: string, at: At = null): string {
  return kando("trace", event, "--run", runAt(run, at));
}

/** Control characters, line ends among them, would run a command when it is pasted. */
function oneLine(word: string): string {
  // biome-ignore lint: control characters are meant.
  return word.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, " ");
}
