/** Markdown as a tree of blocks and spans. The page turns it into elements, so no text acts as markup. */

export type Span =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "code"; readonly text: string }
  | { readonly kind: "strong" | "emphasis" | "strike"; readonly spans: readonly Span[] }
  | { readonly kind: "link"; readonly spans: readonly Span[]; readonly address: string }
  | { readonly kind: "break" };

export type Block =
  | { readonly kind: "heading"; readonly level: number; readonly spans: readonly Span[] }
  | { readonly kind: "paragraph"; readonly spans: readonly Span[] }
  | { readonly kind: "code"; readonly language: string; readonly text: string }
  | { readonly kind: "quote"; readonly blocks: readonly Block[] }
  | { readonly kind: "list"; readonly start: number | null; readonly items: readonly (readonly Block[])[] }
  | {
      readonly kind: "table";
      readonly head: readonly (readonly Span[])[];
      readonly rows: readonly (readonly (readonly Span[])[])[];
    }
  | { readonly kind: "rule" };

/** How deep quotes, lists and spans may be nested; deeper ones are text. */
const DEEPEST = 12;

const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`]*)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const ITEM = /^( {0,3})(?:([-*+])|(\d{1,9})[.)])(?:([ \t]+)(.*)|)$/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/** Parses Markdown: headings, lists, quotes, code, tables and spans; HTML stays text. */
export function parseMarkdown(text: string): Block[] {
  return parseBlocks(text.replace(/\r\n?/g, "\n").split("\n"), 0);
}

function parseBlocks(lines: readonly string[], depth: number): Block[] {
  const blocks: Block[] = [];
  let paragraph: string[] = [];
  const endParagraph = (): void => {
    if (paragraph.length) blocks.push({ kind: "paragraph", spans: parseSpans(paragraph.join("\n"), 0) });
    paragraph = [];
  };
  for (let at = 0; at < lines.length;) {
    const line = lines[at] ?? "";
    const block = line.trim() === "" ? null : blockAt(lines, at, depth, paragraph.length > 0);
    if (block) {
      endParagraph();
      blocks.push(block.block);
      at = block.end;
      continue;
    }
    if (line.trim() === "") endParagraph();
    else paragraph.push(line.replace(/^ {1,3}/, ""));
    at++;
  }
  endParagraph();
  return blocks;
}

interface Found {
  readonly block: Block;
  readonly end: number;
}

function blockAt(lines: readonly string[], at: number, depth: number, inParagraph: boolean): Found | null {
  const line = lines[at] ?? "";
  const heading = HEADING.exec(line);
  if (heading) {
    const block: Block = {
      kind: "heading",
      level: heading[1]?.length ?? 1,
      spans: parseSpans(heading[2] ?? "", 0),
    };
    return { block, end: at + 1 };
  }
  if (RULE.test(line)) return { block: { kind: "rule" }, end: at + 1 };
  const fence = FENCE.exec(line);
  if (fence) return fencedAt(lines, at, fence[1] ?? "```", (fence[2] ?? "").trim());
  if (depth < DEEPEST && QUOTE.test(line)) return quoteAt(lines, at, depth);
  const item = ITEM.exec(line);
  const interrupts =
    item && (!inParagraph || ((item[5] ?? "") !== "" && (item[2] !== undefined || item[3] === "1")));
  if (depth < DEEPEST && item && interrupts) return listAt(lines, at, depth);
  if (
    !inParagraph &&
    line.includes("|") &&
    DELIMITERS.test(lines[at + 1] ?? "") &&
    (lines[at + 1] ?? "").includes("-")
  ) {
    return tableAt(lines, at);
  }
  return null;
}

function fencedAt(lines: readonly string[], at: number, fence: string, language: string): Found {
  const close = new RegExp(`^ {0,3}${fence[0] === "`" ? "`" : "~"}{${fence.length},}[ \\t]*$`);
  let end = at + 1;
  while (end < lines.length && !close.test(lines[end] ?? "")) end++;
  const text = lines.slice(at + 1, end).join("\n");
  return { block: { kind: "code", language, text }, end: end + 1 };
}

function quoteAt(lines: readonly string[], at: number, depth: number): Found {
  const inner: string[] = [];
  let end = at;
  for (; end < lines.length; end++) {
    const found = QUOTE.exec(lines[end] ?? "");
    if (!found) break;
    inner.push(found[1] ?? "");
  }
  return { block: { kind: "quote", blocks: parseBlocks(inner, depth + 1) }, end };
}

function listAt(lines: readonly string[], at: number, depth: number): Found {
  const first = ITEM.exec(lines[at] ?? "");
  const isOrdered = first?.[3] !== undefined;
  const items: Block[][] = [];
  let end = at;
  while (end < lines.length) {
    const found = ITEM.exec(lines[end] ?? "");
    if (!found || (found[3] !== undefined) !== isOrdered || RULE.test(lines[end] ?? "")) break;
    const marker = (found[1] ?? "").length + (found[2] ?? `${found[3] ?? ""}.`).length;
    const padding = (found[4] ?? " ").length;
    const indent = marker + (padding > 4 ? 1 : padding);
    const inner = [found[5] ?? ""];
    end++;
    for (; end < lines.length; end++) {
      const line = lines[end] ?? "";
      const isInside = line.search(/\S/) >= Math.min(indent, 2) && line.search(/\S/) >= indent;
      if (line.trim() === "") {
        const next = lines[end + 1] ?? "";
        if (next.trim() === "" || next.search(/\S/) < indent) break;
        inner.push("");
      } else if (isInside) inner.push(line.slice(indent));
      else if (ITEM.test(line) || blockAt(lines, end, depth, true) || inner.at(-1) === "") break;
      else inner.push(line.trim()); // the next line of its paragraph
    }
    items.push(parseBlocks(inner, depth + 1));
    while (end < lines.length && (lines[end] ?? "").trim() === "" && ITEM.test(lines[end + 1] ?? "")) end++;
  }
  return { block: { kind: "list", start: isOrdered ? Number(first?.[3]) : null, items }, end };
}

function tableAt(lines: readonly string[], at: number): Found {
  const head = cellsOf(lines[at] ?? "");
  const rows: Span[][][] = [];
  let end = at + 2;
  for (; end < lines.length; end++) {
    const line = lines[end] ?? "";
    if (line.trim() === "" || !line.includes("|")) break;
    const cells = cellsOf(line);
    rows.push(head.map((_, number) => cells[number] ?? []));
  }
  return { block: { kind: "table", head, rows }, end };
}

function cellsOf(line: string): Span[][] {
  const inner = line
    .trim()
    .replace(/^\|/, "")
    .replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => parseSpans(cell.trim().replace(/\\\|/g, "|"), 0));
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', nbsp: "\u00a0" };
const PUNCTUATION = /[!-/:-@[-`{-~]/;
// The characters with which a span may begin; text up to the next one is copied.
const SPECIAL = /[\\`*_~[&\n<]/;

/** Parses the spans of one block. */
export function parseSpans(text: string, depth: number): Span[] {
  const spans: Span[] = [];
  let plain = "";
  const add = (span: Span): void => {
    if (plain) spans.push({ kind: "text", text: plain });
    plain = "";
    spans.push(span);
  };
  for (let at = 0; at < text.length;) {
    const rest = text.slice(at, at + 20_000);
    const start = rest.search(SPECIAL);
    if (start !== 0) {
      plain += start < 0 ? rest : rest.slice(0, start);
      at += start < 0 ? rest.length : start;
      continue;
    }
    const found = spanAt(rest, depth, text[at - 1] ?? " ");
    if (typeof found === "string") {
      plain += found;
      at += 1;
    } else {
      if ("text" in found) plain += found.text;
      else add(found.span);
      at += found.length;
    }
  }
  if (plain) spans.push({ kind: "text", text: plain });
  return spans;
}

type FoundSpan =
  { readonly span: Span; readonly length: number } | { readonly text: string; readonly length: number };

/** Returns the span at the start of a text, or its first character if none starts there. */
function spanAt(rest: string, depth: number, before: string): FoundSpan | string {
  const first = rest[0] ?? "";
  if (first === "\\") {
    const next = rest[1] ?? "";
    if (next === "\n") return { span: { kind: "break" }, length: 2 };
    return PUNCTUATION.test(next) ? { text: next, length: 2 } : first;
  }
  if (first === "\n") return { text: " ", length: 1 };
  if (first === "&") {
    const entity = /^&(?:(amp|lt|gt|quot|nbsp)|#(\d{1,7}));/.exec(rest);
    if (!entity) return first;
    const code = Number(entity[2] ?? 0);
    const text = entity[1]
      ? (ENTITIES[entity[1]] ?? "")
      : code > 0 && code <= 0x10ffff
        ? String.fromCodePoint(code)
        : "\ufffd";
    return { text, length: entity[0].length };
  }
  if (first === "`") {
    const code = /^(`+)(?!`)([^]*?[^`])\1(?!`)/.exec(rest);
    return code
      ? {
          span: { kind: "code", text: (code[2] ?? "").replace(/\n/g, " ").replace(/^ (.+) $/, "$1") },
          length: code[0].length,
        }
      : (/^`+/.exec(rest)?.[0][0] ?? first);
  }
  if (depth >= DEEPEST) return first;
  if (first === "<") {
    const auto = /^<(https?:\/\/[^\s<>]+)>/.exec(rest);
    const address = auto ? safeAddress(auto[1] ?? "") : null;
    return auto && address
      ? {
          span: { kind: "link", spans: [{ kind: "text", text: auto[1] ?? "" }], address },
          length: auto[0].length,
        }
      : first;
  }
  if (first === "[") return linkAt(rest, depth) ?? first;
  return emphasisAt(rest, depth, before) ?? first;
}

function linkAt(rest: string, depth: number): FoundSpan | null {
  const found = /^\[((?:[^[\]\\\n]|\\.){1,500})\]\(\s*<?([^\s<>()]{1,2000})>?(?:\s+"[^"]*")?\s*\)/.exec(rest);
  const address = found ? safeAddress((found[2] ?? "").replace(/\\(.)/g, "$1")) : null;
  if (!found || !address) return null;
  return {
    span: { kind: "link", spans: parseSpans(found[1] ?? "", depth + 1), address },
    length: found[0].length,
  };
}

/** Returns the address of a link if it may be followed: only http, https and mailto. */
export function safeAddress(address: string): string | null {
  return /^(?:https?:\/\/[^\s]|mailto:[^\s]+@)/i.test(address) ? address : null;
}

function emphasisAt(rest: string, depth: number, before: string): FoundSpan | null {
  for (const [mark, kind] of [
    ["**", "strong"],
    ["__", "strong"],
    ["~~", "strike"],
    ["*", "emphasis"],
    ["_", "emphasis"],
  ] as const) {
    if (!rest.startsWith(mark) || /^\s/.test(rest.slice(mark.length, mark.length + 1))) continue;
    if (mark[0] === "_" && /\w/.test(before)) continue;
    const end = closing(rest, mark);
    if (end > mark.length) {
      return {
        span: { kind, spans: parseSpans(rest.slice(mark.length, end), depth + 1) },
        length: end + mark.length,
      };
    }
  }
  return null;
}

/** Returns where a mark closes in a text that it opens, or -1. */
function closing(rest: string, mark: string): number {
  // A limit, because each mark of a text without closing ones looks for its own.
  const within = rest.slice(0, 2000);
  for (let at = mark.length; at < within.length; at++) {
    if (within[at] === "\\") at++;
    else if (within[at] === "`") {
      const end = within.indexOf("`", at + 1);
      if (end > 0) at = end;
    } else if (within.startsWith(mark, at) && !/\s/.test(within[at - 1] ?? " ")) {
      const isLonger = mark.length === 1 && within[at + 1] === mark;
      if (isLonger) at++;
      else if (mark[0] !== "_" || !/\w/.test(within[at + mark.length] ?? " ")) return at;
    }
  }
  return -1;
}
