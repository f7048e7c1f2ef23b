/** Text from a ledger: always text nodes, isolated from the direction of the text around it. */

import { useState } from "preact/hooks";

import { number } from "./format";

/** How many characters a long text shows first, and how many more with each press. */
const FIRST = 4_000;
const MORE = 100_000;

/** One line of text from a ledger. */
export function Isolated({ text, class: name }: { text: string; class?: string }) {
  return (
    <bdi class={name} dir="auto">
      {text.length > 1000 ? `${text.slice(0, 1000)}…` : text}
    </bdi>
  );
}

/** A text of any length: cut, with a button that shows more of it. */
export function LongText({ text, class: name = "" }: { text: string; class?: string }) {
  const [shown, setShown] = useState(FIRST);
  const isCut = text.length > shown;
  return (
    <div class={`long-text ${name}`}>
      <pre dir="auto">{isCut ? text.slice(0, shown) : text}</pre>
      {isCut && (
        <button type="button" class="more" onClick={() => setShown(shown === FIRST ? MORE : shown + MORE)}>
          Show more ({number(text.length - shown)} characters left)
        </button>
      )}
    </div>
  );
}
