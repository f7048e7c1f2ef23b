/** Texts of a ledger as they are shown: cut, on one line, with invisible characters made visible. */


/** How many characters of a text are shown before a reader asks for more. */
export const SHORT = 280;
/** How many characters of a text are shown at most; the rest can be downloaded. */
export const LONG = 100_000;

// Control characters except tab and line breaks, and the characters that change the direction of text.
const INVISIBLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** Returns a text in which each control character is written as its code point, such as ⟨U+202E⟩. */
export function visible(text: string): string {
  return text.replace(INVISIBLE, (found) => {
    const code = found.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    return `⟨U+${code}⟩`;
  });
}

/** Returns the first `limit` characters of a text, without half of a character at the end. */
export function cut(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const last = text.charCodeAt(limit - 1);
  const end = last >= 0xd800 && last < 0xdc00 ? limit - 1 : limit;
  return `${text.slice(0, end)}…`;
}

/** Returns a text as one visible line of at most `limit` characters. */
export function oneLine(text: string, limit: number): string {
  // Truncate first, so that only the beginning of a huge text is processed.
  return cut(visible(cut(text, limit * 4).replace(/\s+/g, " ").trim()), limit);
}

/** Returns a value as one line: text as it is, all else as JSON. */
export function valueLine(value: unknown, limit = 120): string {
  if (typeof value === "string") return oneLine(value, limit);
  return oneLine(shortJson(value, limit * 4), limit);
}

/** Returns a value as text: a text as it is, all else as indented JSON. */
export function valueText(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value, null, 2) ?? "");
}

/** Returns the beginning of a value as JSON, without writing all of a huge one. */
function shortJson(value: unknown, limit: number): string {
  if (value === null || typeof value !== "object") return cut(JSON.stringify(value) ?? "", limit);
  const isList = Array.isArray(value);
  const parts: string[] = [];
  let length = 0;
  for (const [name, each] of Object.entries(value)) {
    if (length > limit) {
      parts.push("…");
      break;
    }
    const shown = typeof each === "string" ? JSON.stringify(cut(each, limit)) : shortJson(each, limit - length);
    const part = isList ? shown : `${JSON.stringify(cut(name, 80))}: ${shown}`;
    parts.push(part);
    length += part.length;
  }
  return isList ? `[${parts.join(", ")}]` : `{${parts.join(", ")}}`;
}

/** Returns a number with thin groups, such as 12,345. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** Returns a number and its noun, such as "1 event" or "12 events". */
export function counted(value: number, noun: string, plural = `${noun}s`): string {
  return `${count(value)} ${value === 1 ? noun : plural}`;
}

/** Returns an amount of US dollars: whole cents, or as many digits as a small amount needs. */
export function dollars(value: number): string {
  if (value === 0) return "$0.00";
  if (Math.abs(value) < 0.0001) return "<$0.0001";
  return `$${value.toFixed(Math.abs(value) < 0.1 ? 4 : 2)}`;
}

/** Returns a duration, such as "0.7 s", "3 min 20 s" or "2 h 5 min". */
export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
