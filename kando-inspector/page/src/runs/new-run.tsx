/** The dialog that starts a run. */

import { useState } from "preact/hooks";

import type { Source, SourceError, StartRequest } from "../data/source";
import { kando } from "../ui/commands";
import { asError, useLoaded } from "../ui/hooks";
import { CopyCommand, Dialog, Problem } from "../ui/parts";

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
  const [error, setError] = useState<SourceError | null>(null);
  const [isBusy, setBusy] = useState(false);
  const chosen = kit || kits.value?.[0]?.name || "";
  const request: StartRequest = {
    kit: chosen,
    goal,
    demo: isDemo,
    ...(maxUsd ? { max_usd: Number(maxUsd) } : {}),
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
            required
            value={goal}
            placeholder="Evaluate Acme Corp"
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
        {kits.error && <Problem error={kits.error} retry={kits.reload} />}
        {error && <Problem error={error} />}
        <div class="dialog-foot">
          <CopyCommand command={commandOf(request)} label="Copy as command" />
          <button type="submit" class="button primary" disabled={isBusy || !chosen || !goal.trim()}>
            Start
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function commandOf({ kit, goal, demo, max_usd: limit }: StartRequest): string {
  const words = ["run", kit || "KIT", "--goal", goal || "GOAL"];
  if (demo) words.push("--demo");
  if (limit !== undefined) words.push("--budget-usd", String(limit));
  return kando(...words);
}
