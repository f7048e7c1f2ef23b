/** Texts of a ledger as they are shown: cut, on one line, with invisible characters made visible. */

// Control characters except tab and line breaks, and the characters that change the direction of text.
const INVISIBLE =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

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
  return cut(
    visible(
      cut(text, limit * 4)
        .replace(/\s+/g, " ")
        .trim(),
    ),
    limit,
  );
}

/** Returns a value as one line: text as it is, all else as JSON. */
export function valueLine(value: unknown, limit = 120): string {
  if (typeof value === "string") return oneLine(value, limit);
  return oneLine(shortJson(value, limit * 4), limit);
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
    const shown =
      typeof each === "string" ? JSON.stringify(cut(each, limit)) : shortJson(each, limit - length);
    const part = isList ? shown : `${JSON.stringify(cut(name, 80))}: ${shown}`;
    parts.push(part);
    length += part.length;
  }
  return isList ? `[${parts.join(", ")}]` : `{${parts.join(", ")}}`;
}
