/** The keyboard map: one table for the keys and for the help. */

import { useEffect, useState } from "preact/hooks";

import { store, stored } from "./hooks";
import { Dialog } from "./parts";

export interface Binding {
  keys: string[];
  /** What it does, as in "Show the next event"; "" leaves it out of the help. */
  about: string;
  run(): void;
}

const ALWAYS = [
  { keys: ["Tab"], about: "Go to the next control" },
  { keys: ["Escape"], about: "Close a dialog, or the details of an event" },
  { keys: ["← →"], about: "On the scrubber: one event back or forward" },
  { keys: ["Page Up", "Page Down"], about: "On the scrubber: a tenth of the run" },
  { keys: ["Home", "End"], about: "On the scrubber: the first event, or live" },
  { keys: ["↑ ↓"], about: "In the list of events: select the previous or next event" },
  { keys: ["Enter"], about: "In the list of events: go to the selected event in time" },
];

/** Return whether single keys are on; a person can turn them off in the help. */
export function areKeysOn(): boolean {
  return stored("keys") !== "off";
}

/** Run a binding when its key is pressed outside of fields and dialogs. */
export function useKeys(bindings: Binding[]): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      if (document.querySelector("dialog[open]") || isField(event.target)) return;
      if (event.key.length === 1 && !areKeysOn()) return;
      const found = bindings.find((each) => each.keys.includes(event.key));
      if (!found) return;
      event.preventDefault();
      found.run();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [bindings]);
}

function isField(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return target.type !== "range" && target.type !== "checkbox";
  return target.isContentEditable || ["TEXTAREA", "SELECT"].includes(target.tagName);
}

export function Help({ bindings, close }: { bindings: Binding[]; close(): void }) {
  const [isOn, setOn] = useState(areKeysOn());
  return (
    <Dialog title="Keyboard" close={close}>
      <table class="keys">
        <tbody>
          {[...bindings.filter((each) => each.about), ...ALWAYS].map((each) => (
            <tr key={each.about}>
              <th scope="row">
                {each.keys.map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}
              </th>
              <td>{each.about}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <label class="check">
        <input
          type="checkbox"
          checked={isOn}
          onChange={(event) => {
            setOn(event.currentTarget.checked);
            store("keys", event.currentTarget.checked ? "on" : "off");
          }}
        />
        Single keys act. Turn this off if you use a screen reader or speech input.
      </label>
    </Dialog>
  );
}
