/** Labels of runs: as links that show the runs with the same label, and as a filter of the list. */

import { useState } from "preact/hooks";

import { formatAddress, START } from "../address";
import { isLabel, labelsOf } from "../data/labels";
import type { RunStatus } from "../data/shapes";
import { number } from "../ui/format";

interface Props {
  run: RunStatus;
  filter?: Record<string, string>;
  /** How many labels are shown; those of the filter come first. */
  most?: number;
}

/** The labels of a run; each is a link to the list of runs that have it, too. */
export function Labels({ run, filter = {}, most = Infinity }: Props) {
  const chosen = chosenLabels(filter);
  const all = labelsOf(run);
  if (all.length === 0) return null;
  const sorted = [...all.filter((each) => chosen.includes(each)), ...all.filter((each) => !chosen.includes(each))];
  const labels = sorted.slice(0, most);
  const rest = sorted.slice(most);
  return (
    <ul class="labels" aria-label="Labels">
      {labels.map((each) => (
        <li key={each}>
          {chosen.includes(each) ? (
            <span class="label is-chosen" title={each}>
              <Text label={each} />
            </span>
          ) : (
            <a class="label" href={addressWith(filter, each)} title={`Show only runs with ${each}`}>
              <Text label={each} />
              <span class="visually-hidden"> (show only runs with this label)</span>
            </a>
          )}
        </li>
      ))}
      {rest.length > 0 && (
        <li class="label-rest dim" title={rest.join("\n")}>
          and {number(rest.length)} more
        </li>
      )}
    </ul>
  );
}

/** A label: its value stands out from its name. */
function Text({ label }: { label: string }) {
  const name = label.slice(0, label.indexOf("=") + 1);
  return (
    <bdi dir="auto">
      <span class="label-name">{name}</span>
      {label.slice(name.length)}
    </bdi>
  );
}

/** The labels that the list is filtered by, each with a button that removes it, and a field for more. */
export function LabelFilter({ filter, change }: { filter: Record<string, string>; change(label: string): void }) {
  const [text, setText] = useState("");
  const [isWrong, setWrong] = useState(false);
  const chosen = chosenLabels(filter);
  const add = (event: Event) => {
    event.preventDefault();
    const label = text.trim();
    setWrong(label !== "" && !isLabel(label));
    if (!isLabel(label)) return;
    setText("");
    change([...chosen.filter((each) => each !== label), label].join("\n"));
  };
  return (
    <>
      <form class="runs-label" onSubmit={add}>
        <input
          type="text"
          class="runs-field"
          placeholder="Label, such as tenant=a"
          aria-label="Label, such as tenant=a; press Enter"
          aria-invalid={isWrong}
          aria-describedby={isWrong ? "label-problem" : undefined}
          value={text}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setWrong(false);
          }}
        />
      </form>
      {isWrong && (
        <p class="runs-label-problem" id="label-problem" role="alert">
          Write a label as NAME=VALUE.
        </p>
      )}
      {chosen.length > 0 && (
        <ul class="labels runs-chosen" aria-label="Labels that the runs have">
          {chosen.map((each) => (
            <li key={each}>
              <button
                type="button"
                class="label is-chosen"
                title="Remove from the filter"
                onClick={() => change(chosen.filter((other) => other !== each).join("\n"))}
              >
                <Text label={each} />
                <span class="visually-hidden"> (remove from the filter)</span>
                <span aria-hidden="true">×</span>
              </button>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

/** Return the labels of a filter, each as NAME=VALUE. */
export function chosenLabels(filter: Record<string, string>): string[] {
  return (filter.label ?? "").split("\n").filter(Boolean);
}

function addressWith(filter: Record<string, string>, label: string): string {
  return formatAddress({ ...START, more: { ...filter, label: [...chosenLabels(filter), label].join("\n") } });
}
