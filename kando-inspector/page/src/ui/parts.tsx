/** Small parts that every view uses. */

import type { ComponentChildren } from "preact";
import { useContext, useEffect, useRef } from "preact/hooks";
import { createContext } from "preact";

import type { RunState } from "../data/shapes";
import type { SourceError } from "../data/source";
import { useNow } from "./hooks";
import { age, moment } from "./format";
import { Isolated } from "./text";

/** Says a short text: shown for a moment, and read by screen readers. */
export const Announce = createContext<(text: string) => void>(() => {});

export function StateBadge({ state }: { state: RunState }) {
  return <span class={`state state-${state}`}>{state}</span>;
}

/** A time as its age, with the exact time as its title. */
export function Age({ at }: { at: string | null }) {
  const now = useNow();
  if (!at) return null;
  return (
    <time dateTime={at} title={moment(at)}>
      {age(at, now)}
    </time>
  );
}

/** Copy a text to the clipboard; returns whether that worked. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    return isCopied;
  }
}

/** A button that copies a command of `kando`; the command itself is its title. */
export function CopyCommand({ command, label }: { command: string; label?: string }) {
  const announce = useContext(Announce);
  const press = async () => {
    announce((await copy(command)) ? `Copied: ${command}` : `Copy it by hand: ${command}`);
  };
  return (
    <button
      type="button"
      class={label ? "button copy" : "icon-button copy"}
      title={`Copy as command: ${command}`}
      aria-label={`${label ?? "Copy as command"}: ${command}`}
      onClick={press}
    >
      <svg aria-hidden="true" viewBox="0 0 16 16" width="14" height="14">
        <path d="M2.5 3.5 6 7l-3.5 3.5M7.5 11.5h6" fill="none" stroke="currentColor" stroke-width="1.6" />
      </svg>
      {label && <span>{label}</span>}
    </button>
  );
}

/** An error of a source with its hint and, if it can help, a button that tries again. */
export function Problem({ error, retry }: { error: SourceError; retry?: () => void }) {
  return (
    <div class="problem" role="alert">
      <p>
        <Isolated text={error.message} />
      </p>
      {error.hint && (
        <p class="dim">
          <Isolated text={error.hint} />
        </p>
      )}
      <p class="problem-foot">
        <code>{error.code}</code>
        {retry && (
          <button type="button" class="button" onClick={retry}>
            Try again
          </button>
        )}
      </p>
    </div>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** A dialog that Escape closes; the browser keeps the focus inside it. */
export function Dialog(props: { title: string; close(): void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const opener = document.activeElement;
    ref.current?.showModal();
    // The browser returns the focus only if the dialog is closed before it is removed.
    return () => {
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class="dialog"
      aria-labelledby="dialog-title"
      onClose={props.close}
      onClick={(event) => event.target === ref.current && props.close()}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2 id="dialog-title">{props.title}</h2>
          <button type="button" class="icon-button" aria-label="Close" onClick={props.close}>
            <svg aria-hidden="true" viewBox="0 0 16 16" width="14" height="14">
              <path d="m3.5 3.5 9 9m0-9-9 9" stroke="currentColor" stroke-width="1.6" />
            </svg>
          </button>
        </header>
        {props.children}
      </div>
    </dialog>
  );
}
