/** The scrubber: how many events count. It is bound to the address #RUN@N. */

import type { EventIndex } from "../data/event-index";
import { clock, number } from "../ui/format";

interface Props {
  index: EventIndex;
  length: number;
  at: number | null;
  isLive: boolean;
  /** Number of events since the person scrubbed back. */
  scrub(end: number | null): void;
}

export function Scrubber({ index, length, at, isLive, scrub }: Props) {
  const end = at === null ? length : Math.min(at, length);
  const go = (next: number) => {
    const bound = Math.max(0, Math.min(length, next));
    scrub(bound >= length ? null : bound);
  };
  const step = (name: string, by: number, sign: string) => (
    <button
      type="button"
      class="icon-button"
      aria-label={name}
      title={name}
      disabled={by < 0 ? end === 0 : end === length}
      onClick={() => go(end + by)}
    >
      {sign}
    </button>
  );
  return (
    <div class="scrubber" role="group" aria-label="Time">
      {step("One event back", -1, "‹")}
      <input
        type="range"
        class="scrubber-range"
        min={0}
        max={length}
        step={1}
        value={end}
        aria-label="Number of events that count"
        aria-valuetext={describe(index, end, length)}
        style={{ "--done": `${length ? (100 * end) / length : 0}%` }}
        onInput={(event) => go(Number(event.currentTarget.value))}
      />
      {step("One event forward", 1, "›")}
      <label class="scrubber-number">
        <span class="visually-hidden">Go to event number</span>
        <input
          type="number"
          min={0}
          max={length}
          value={end}
          onChange={(event) => go(Number(event.currentTarget.value) || 0)}
        />
        <span class="dim">of {number(length)}</span>
      </label>
      <button
        type="button"
        class={`button small live ${at === null ? "is-live" : ""}`}
        disabled={at === null}
        onClick={() => scrub(null)}
      >
        {at === null ? (isLive ? "Live" : "At the end") : isLive ? "Back to live" : "To the end"}
      </button>
    </div>
  );
}

function describe(index: EventIndex, end: number, length: number): string {
  const where = `Event ${number(end)} of ${number(length)}`;
  if (end === 0 || !index.isLoaded(end - 1)) return where;
  return `${where}: ${index.type(end - 1)}, ${clock(index.time(end - 1))}`;
}
