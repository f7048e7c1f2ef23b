import assert from "node:assert/strict";
import { test } from "node:test";

import { lineHunks } from "../src/views/logic/line-diff";
import { parseMarkdown, safeAddress, type Span } from "../src/views/logic/markdown";
import { cut, oneLine, valueLine, visible } from "../src/views/logic/text";
import { windowOf } from "../src/views/logic/windowed";

const plain = (spans: readonly Span[]): string =>
  spans.map((each) => ("spans" in each ? plain(each.spans) : "text" in each ? each.text : "\n")).join("");

test("control characters and those that change direction are visible", () => {
  assert.equal(visible("a\u202eb\u0000\n"), "a⟨U+202E⟩b⟨U+0000⟩\n");
});

test("a cut never splits a character, and a line of a huge value is made quickly", () => {
  assert.equal(cut("ab😀", 3), "ab…");
  assert.equal(oneLine(" a\n b ", 10), "a b");
  const started = performance.now();
  const line = valueLine({ texts: Array.from({ length: 1000 }, () => "x".repeat(100_000)) }, 50);
  assert.ok(line.length <= 51 && performance.now() - started < 30_000);
});

test("Markdown becomes headings, lists, quotes, tables and code", () => {
  const text =
    "# Title #\n\nA *b* **c** `d<e>`\nnext\n\n- one\n- two\n  - deep\n\n3. three\n\n> quote\n\n```py\nx = 1\n```\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n---\n";
  const blocks = parseMarkdown(text);
  const kinds = blocks.map((each) => each.kind);
  assert.deepEqual(kinds, ["heading", "paragraph", "list", "list", "quote", "code", "table", "rule"]);
  const [, paragraph, list, ordered] = blocks;
  assert.ok(paragraph?.kind === "paragraph" && list?.kind === "list" && ordered?.kind === "list");
  assert.equal(plain(paragraph.spans), "A b c d<e> next");
  assert.deepEqual(
    list.items.map((each) => each.map((block) => block.kind)),
    [["paragraph"], ["paragraph", "list"]],
  );
  assert.equal(ordered.start, 3);
});

test("HTML, scripts and unsafe links in Markdown stay text", () => {
  const [block] = parseMarkdown(
    '<script>alert(1)</script> [x](javascript:alert) ![i](https://e.example/i.png) <b onclick="x">',
  );
  assert.ok(block?.kind === "paragraph");
  assert.deepEqual(
    block.spans.filter((each) => each.kind === "link").map((each) => each.address),
    ["https://e.example/i.png"],
  );
  assert.ok(plain(block.spans).startsWith("<script>alert(1)</script> [x](javascript:alert)"));
  for (const unsafe of [
    "javascript:x",
    " javascript:x",
    "data:text/html,x",
    "//e.example",
    "file:///etc",
    "JaVaScRiPt:x",
  ]) {
    assert.equal(safeAddress(unsafe), null);
  }
});

test("escapes and entities of an artifact are shown as their characters", () => {
  const [block] = parseMarkdown("\\*no\\* a &lt;b&gt; &amp; \\[1\\] [2] &#x; &#9731;");
  assert.ok(block?.kind === "paragraph");
  assert.equal(plain(block.spans), "*no* a <b> & [1] [2] &#x; ☃");
});

test("hostile Markdown is parsed in time that grows with its length", () => {
  const started = performance.now();
  for (const part of ["*", "**a ", "[", "`", "> ", "- ", "_a", "|", "<https://", "[a](", "&", "\\"]) {
    parseMarkdown(part.repeat(20_000));
  }
  assert.ok(performance.now() - started < 30_000);
});

test("the rows in view are few, whatever the length of the list", () => {
  const found = windowOf(1_000_000, 30, 15_000_000, 600);
  assert.ok(found.from <= 500_000 && found.to > 500_020 && found.to - found.from < 60);
  assert.deepEqual(windowOf(3, 30, 900, 600), { from: 0, to: 3, above: 0, below: 0 });
});

test("two long texts differ only in their changed lines", () => {
  const lines = (...changed: string[]) => ["a", "b", ...changed, "y", "z"].join("\n");
  assert.deepEqual(lineHunks(lines("old"), lines("new", "more")), [
    { removed: ["old"], added: ["new", "more"], before: ["b"], after: ["y"] },
  ]);
  assert.deepEqual(lineHunks("1\n2\n3\n4\n5", "1\nX\n3\n4"), [
    { removed: ["2"], added: ["X"], before: ["1"], after: ["3"] },
    { removed: ["5"], added: [], before: ["4"], after: [] },
  ]);
  assert.deepEqual(lineHunks("same", "same"), []);
  const long = (word: string) => Array.from({ length: 3000 }, (_, at) => `${word} ${at}`).join("\n");
  assert.equal(lineHunks(long("a"), long("b")).length, 1);
});
