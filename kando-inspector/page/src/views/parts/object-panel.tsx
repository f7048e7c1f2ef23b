/** An object of the world with its fields, its relations and the events that made it. */

import { useMemo } from "preact/hooks";

import type { Json, World, WorldObject } from "../../data/shapes";
import { traceCommand } from "../../ui/commands";
import { plural } from "../../ui/format";
import { JsonTree } from "../../ui/json";
import { CopyCommand } from "../../ui/parts";
import { Isolated, LongText } from "../../ui/text";
import { type Changes, labelOf } from "../logic/changes";
import { oneLine } from "../logic/text";
import type { ViewProps } from "../registry";

interface PanelProps {
  object: WorldObject;
  world: World;
  changes: Changes;
  view: ViewProps;
  choose(id: string | null): void;
}

/** An object with its fields, its relations and the events that made it. */
export function ObjectPanel({ object, world, changes, view, choose }: PanelProps) {
  const changed = changes.fields.get(object.id) ?? [];
  const fields = Object.entries(object.data);
  return (
    <aside class="side" aria-label="Object">
      <header class="side-head">
        <div>
          <p class="dim">
            <Isolated text={oneLine(object.type, 60)} />
          </p>
          <h2>
            <Isolated text={oneLine(labelOf(object), 160)} />
          </h2>
          <p class="dim mono">
            <Isolated text={oneLine(object.id, 120)} />
          </p>
        </div>
        <button type="button" class="icon-button" aria-label="Close the object" onClick={() => choose(null)}>
          ×
        </button>
      </header>
      <p class="side-actions">
        <button
          type="button"
          class="button"
          onClick={() => view.navigate({ view: "trace", event: object.event_id })}
        >
          Why does it exist?
        </button>
        <button type="button" class="button" onClick={() => view.select(object.changed_by)}>
          Show the last change
        </button>
        <CopyCommand command={traceCommand(view.run, object.id, view.at)} />
      </p>
      <dl class="fields">
        {fields.map(([name, value]) => (
          <div key={name} class={changed.includes(name) ? "field is-changed" : "field"}>
            <dt>
              <Isolated text={oneLine(name, 80)} />
              {changed.includes(name) && <span class="mark-word"> patched</span>}
            </dt>
            <dd>
              <FieldValue value={value} />
            </dd>
          </div>
        ))}
      </dl>
      {fields.length === 0 && <p class="dim">The object has no fields.</p>}
      <Relations object={object} world={world} choose={choose} />
    </aside>
  );
}

function FieldValue({ value }: { value: Json }) {
  if (typeof value === "string")
    return value.length > 200 || value.includes("\n") ? <LongText text={value} /> : <Isolated text={value} />;
  if (value !== null && typeof value === "object") return <JsonTree value={value} open={1} />;
  return <span class="json-atom">{String(value)}</span>;
}

/** How many relations of an object are listed. */
const MOST_LISTED = 100;

function Relations({
  object,
  world,
  choose,
}: {
  object: WorldObject;
  world: World;
  choose(id: string): void;
}) {
  const found = world.relations.filter(
    (each) => each.source_id === object.id || each.target_id === object.id,
  );
  const byId = useMemo(() => new Map(world.objects.map((each) => [each.id, each])), [world]);
  if (found.length === 0) return <p class="dim">The object has no relations.</p>;
  return (
    <>
      <h3>{plural(found.length, "relation")}</h3>
      <ul class="relations">
        {found.slice(0, MOST_LISTED).map((each) => {
          const isSource = each.source_id === object.id;
          const other = isSource ? each.target_id : each.source_id;
          const known = byId.get(other);
          return (
            <li key={each.id}>
              <span class="relation-type">
                {isSource ? "→" : "←"} <Isolated text={oneLine(each.type, 40)} />
              </span>{" "}
              <button type="button" class="link" onClick={() => choose(other)} disabled={!known}>
                <Isolated text={oneLine(known ? `${known.type}: ${labelOf(known)}` : other, 100)} />
              </button>
            </li>
          );
        })}
      </ul>
      {found.length > MOST_LISTED && <p class="dim">The first {MOST_LISTED} are listed.</p>}
    </>
  );
}
