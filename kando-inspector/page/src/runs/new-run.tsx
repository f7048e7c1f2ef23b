/** The dialog that starts a run. */

import { useState } from "preact/hooks";

import { type LabelRow, changesOf, repeatedName } from "../data/labels";
import type { Source, SourceError, StartRequest } from "../data/source";
import { kando } from "../ui/commands";
import { asError, useLoaded } from "../ui/hooks";
import { CopyCommand, Dialog, Problem } from "../ui/parts";
import { LabelRows } from "./label-editor";

interface Props {
  source: Source;
  close(): void;
  started(run: string): void;
}

export function NewRun({ source, close, started }: Props) {
  const kits = useLoaded(() => source.kits(), [source]);
  const [kit, setKit] = useState("");
  const [goal, setGoal] = useState("");
  const [isDemo, setDemo] = useState(true);
  const [maxUsd, setMaxUsd] = useState("");
  const [rows, setRows] = useState<LabelRow[]>([]);
  const [error, setError] = useState<SourceError | null>(null);
  const [isBusy, setBusy] = useState(false);
  const chosen = kit || kits.value?.[0]?.name || "";
  const labels = changesOf({}, rows) as Record<string, string>;
  const request: StartRequest = {
    kit: chosen,
    demo: isDemo,
    // A demo has a goal of its own.
    ...(goal.trim() || !isDemo ? { goal } : {}),
    ...(maxUsd ? { max_usd: Number(maxUsd) } : {}),
    ...(Object.keys(labels).length ? { labels } : {}),
  };
  const start = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      const run = await source.start(request);
      close();
      started(run.run_id);
    } catch (problem) {
      setError(asError(problem));
      setBusy(false);
    }
  };
  return (
    <Dialog title="New run" close={close}>
      <form class="form" onSubmit={start}>
        <label>
          Kit
          <select value={chosen} onChange={(event) => setKit(event.currentTarget.value)}>
            {kits.value?.map((each) => (
              <option key={each.name} value={each.name}>
                {each.name}: {each.about}
              </option>
            ))}
          </select>
        </label>
        <label>
          Goal
          <textarea
            rows={3}
            required={!isDemo}
            value={goal}
            placeholder={isDemo ? "The goal of the demo" : "Evaluate Acme Corp"}
            onInput={(event) => setGoal(event.currentTarget.value)}
          />
        </label>
        <label class="check">
          <input
            type="checkbox"
            checked={isDemo}
            onChange={(event) => setDemo(event.currentTarget.checked)}
          />
          Work offline from the demo documents of the kit
        </label>
        <label>
          Limit on the cost of model calls, in US dollars
          <input
            type="number"
            min="0"
            step="any"
            value={maxUsd}
            placeholder="no limit"
            onInput={(event) => setMaxUsd(event.currentTarget.value)}
          />
        </label>
        <fieldset class="form-labels">
          <legend>Labels</legend>
          <LabelRows rows={rows} change={setRows} />
        </fieldset>
        {kits.error && <Problem error={kits.error} retry={kits.reload} />}
        {error && <Problem error={error} />}
        <div class="dialog-foot">
          <CopyCommand command={commandOf(request)} label="Copy as command" />
          <button type="submit" class="button primary" disabled={isBusy || !chosen || !(goal.trim() || isDemo) || repeatedName(rows) !== null}>
            Start
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function commandOf({ kit, goal, demo, max_usd: limit, labels = {} }: StartRequest): string {
  const words = ["run", kit || "KIT"];
  if (goal || !demo) words.push("--goal", goal || "GOAL");
  if (demo) words.push("--demo");
  if (limit !== undefined) words.push("--budget-usd", String(limit));
  for (const [name, value] of Object.entries(labels)) words.push("--label", `${name}=${value}`);
  return kando(...words);
}
