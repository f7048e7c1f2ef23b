/** Small controls that several views use. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import type { SourceError } from "../../data/source";
import { asError } from "../../ui/hooks";
import { CopyCommand, Problem } from "../../ui/parts";

export interface Choice<Id extends string> {
  id: Id;
  title: string;
}

/** A row of buttons of which one is pressed. */
export function Segments<Id extends string>(props: {
  label: string;
  choices: readonly Choice<Id>[];
  value: Id;
  choose(id: Id): void;
}) {
  return (
    <div class="segments" role="group" aria-label={props.label}>
      {props.choices.map((each) => (
        <button
          key={each.id}
          type="button"
          class="segment"
          aria-pressed={each.id === props.value}
          onClick={() => props.choose(each.id)}
        >
          {each.title}
        </button>
      ))}
    </div>
  );
}

export interface Acting {
  isBusy: boolean;
  error: SourceError | null;
  /** Run an action; a second press during the first does not act twice. */
  act(action: () => Promise<void>): Promise<void>;
}

/** Run one action at a time, and keep the error of the last one. */
export function useActing(): Acting {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<SourceError | null>(null);
  const act = async (action: () => Promise<void>): Promise<void> => {
    if (isBusy) return;
    setBusy(true);
    setError(null);
    try {
      await action();
    } catch (failed) {
      setError(asError(failed));
    } finally {
      setBusy(false);
    }
  };
  return { isBusy, error, act };
}

/** The foot of a form: its buttons, the same as a command, and the error of the last try. */
export function ActionFoot(props: { command: string; acting: Acting; children?: ComponentChildren }) {
  return (
    <div class="action-foot">
      <div class="action-row">
        {props.children}
        <CopyCommand command={props.command} label="Copy as command" />
      </div>
      <code class="command" dir="ltr">
        {props.command.length > 400 ? `${props.command.slice(0, 400)}…` : props.command}
      </code>
      {props.acting.error && <Problem error={props.acting.error} />}
    </div>
  );
}

/** A part of a view with a heading. */
export function Section(props: { title: string; aside?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="part">
      <header class="part-head">
        <h2>{props.title}</h2>
        {props.aside}
      </header>
      {props.children}
    </section>
  );
}

/** Save a text as a file of the reader. */
export function saveFile(name: string, mediaType: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: mediaType }));
  link.download = name.replace(/[^\p{L}\p{N}._ -]/gu, "_").slice(0, 120) || "file";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
