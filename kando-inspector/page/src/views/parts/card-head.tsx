/** The head of an approval or a question: who asks, since when, and until when. */

import type { Approval } from "../../data/shapes";
import { duration, moment } from "../../ui/format";
import { useNow } from "../../ui/hooks";
import { Age } from "../../ui/parts";
import { Isolated } from "../../ui/text";
import type { ViewProps } from "../registry";

/** Return the run that an item belongs to: a child run may wait, too. */
export function runOf(item: Approval, view: ViewProps): string {
  return typeof item["run_id"] === "string" ? item["run_id"] : view.run;
}

interface HeadProps {
  item: Approval;
  view: ViewProps;
  title: string;
  titleId: string;
  kind: string;
}

export function CardHead({ item, view, title, titleId, kind }: HeadProps) {
  const run = runOf(item, view);
  const intent = typeof item["intent"] === "string" ? item["intent"] : item.event_id;
  return (
    <header class="card-head">
      <div>
        <p class="dim">
          {kind}, requested <Age at={item.requested_at} />
          {run !== view.run && (
            <>
              {" "}
              by child run{" "}
              <button
                type="button"
                class="link mono"
                onClick={() => view.navigate({ run, view: "approvals" })}
              >
                {run}
              </button>
            </>
          )}
        </p>
        <h2 id={titleId}>
          <Isolated text={title} />
        </h2>
      </div>
      <Deadline at={item.expires_at} />
      <button type="button" class="button" onClick={() => view.navigate({ view: "trace", event: intent })}>
        Why?
      </button>
    </header>
  );
}

/** The deadline of a decision; the run decides by itself after it. */
function Deadline({ at }: { at: string | null }) {
  const now = useNow();
  if (!at) return null;
  const left = Date.parse(at) - now;
  return (
    <time class={left < 3_600_000 ? "deadline is-near" : "deadline"} dateTime={at} title={moment(at)}>
      {left > 0 ? `${duration(left)} left` : "The deadline has passed"}
    </time>
  );
}
