/** The world of a run: its objects and relations, as a table and as a graph. */

import { useEffect, useMemo, useState } from "preact/hooks";

import type { LedgerEvent, Relation, World, WorldObject } from "../data/shapes";
import { kando } from "../ui/commands";
import { number, plural } from "../ui/format";
import { useVersion } from "../ui/hooks";
import { CopyCommand, Empty, Problem } from "../ui/parts";
import { Isolated } from "../ui/text";
import { type Changes, changesOf, labelOf, typesIn } from "./logic/changes";
import { oneLine, valueLine } from "./logic/text";
import {
  isDrawable,
  MOST_OBJECTS,
  neighbourhood,
  objectFigure,
  partOf,
  typeFigure,
} from "./logic/world-graph";
import { more, setMore } from "./parts/address-more";
import { useCoalesced } from "./parts/coalesced";
import { Segments } from "./parts/controls";
import { FigureView } from "./parts/figure-view";
import { type Column, VirtualTable } from "./parts/virtual-table";
import { ObjectPanel } from "./parts/object-panel";
import { register, type ViewProps } from "./registry";

const FORMS = [
  { id: "table", title: "Table" },
  { id: "graph", title: "Graph" },
] as const;

function WorldView(props: ViewProps) {
  const { source, run, at, end } = props;
  const { value: world, error, reload } = useCoalesced(() => source.world(run, at), [source, run, at, end]);
  const changes = useChanges(props);
  if (error) return <Problem error={error} retry={reload} />;
  if (!world) return <Empty>Loading the world…</Empty>;
  if (world.objects.length === 0 && world.relations.length === 0) {
    return (
      <Empty>
        There are no objects yet at this event. Move the scrubber to the right to see how the world grows.
      </Empty>
    );
  }
  return <Explorer world={world} changes={changes} view={props} />;
}

/** Return what the selected event changed, or the last event that counts if none is selected. */
function useChanges({ events, event, end, source, run }: ViewProps): Changes & { event: LedgerEvent | null } {
  const version = useVersion(events);
  const [found, setFound] = useState<LedgerEvent | null>(null);
  useEffect(() => {
    let isCurrent = true;
    const load = event === null ? events.event(end - 1) : events.find(event);
    load.then((each) => isCurrent && setFound(each)).catch(() => isCurrent && setFound(null));
    return () => {
      isCurrent = false;
    };
  }, [events, event, end, source, run, end > events.length ? version : 0]);
  return useMemo(() => ({ ...changesOf(found), event: found }), [found]);
}

interface ExplorerProps {
  world: World;
  changes: Changes & { event: LedgerEvent | null };
  view: ViewProps;
}

function Explorer({ world, changes, view }: ExplorerProps) {
  const form = more("form") === "graph" ? "graph" : "table";
  const type = more("type");
  const chosen = more("object");
  const [words, setWords] = useState("");
  const types = useMemo(() => typesIn(world), [world]);
  const objects = useMemo(() => filtered(world, type, words), [world, type, words]);
  const object = world.objects.find((each) => each.id === chosen) ?? null;
  const choose = (id: string | null) => setMore(view, { object: id });
  return (
    <div class="world">
      <div class={`world-panes${object ? " has-side" : ""}`}>
        <div class="world-main">
          <div class="toolbar">
            <Segments
              label="Form"
              choices={FORMS}
              value={form}
              choose={(id) => setMore(view, { form: id })}
            />
            <select
              aria-label="Type of objects"
              value={type ?? ""}
              onChange={(event) => setMore(view, { type: event.currentTarget.value || null })}
            >
              <option value="">All types ({number(world.objects.length)})</option>
              {types.map(([each, size]) => (
                <option key={each} value={each}>
                  {oneLine(each, 60)} ({number(size)})
                </option>
              ))}
            </select>
            <input
              type="search"
              placeholder="Filter by text"
              aria-label="Filter objects by text"
              value={words}
              onInput={(event) => setWords(event.currentTarget.value)}
            />
            <span class="dim toolbar-note" role="status">
              {plural(objects.length, "object")}, {plural(world.relations.length, "relation")}
            </span>
            <CopyCommand command={worldCommand(view, type)} />
          </div>
          <ChangeLine changes={changes} world={world} choose={choose} />
          {form === "table" ? (
            <ObjectTable objects={objects} type={type} changes={changes} chosen={chosen} choose={choose} />
          ) : (
            <WorldGraph
              world={world}
              objects={objects}
              isFiltered={type !== null || words !== ""}
              changes={changes}
              chosen={object}
              choose={choose}
              view={view}
            />
          )}
        </div>
        {object && (
          <ObjectPanel object={object} world={world} changes={changes} view={view} choose={choose} />
        )}
      </div>
    </div>
  );
}

function worldCommand({ run, at }: ViewProps, type: string | null): string {
  return kando(
    "world",
    run,
    ...(at === null ? [] : ["--at", at]),
    ...(type === null ? [] : ["--type", type]),
  );
}

function filtered(world: World, type: string | null, words: string): WorldObject[] {
  const wanted = words.trim().toLowerCase();
  const ofType = type === null ? world.objects : world.objects.filter((each) => each.type === type);
  if (!wanted) return ofType;
  return ofType.filter((each) =>
    `${each.id} ${each.type} ${JSON.stringify(each.data)}`.toLowerCase().includes(wanted),
  );
}

/** Says which object or relation the selected event changed. */
function ChangeLine({
  changes,
  world,
  choose,
}: {
  changes: ExplorerProps["changes"];
  world: World;
  choose(id: string): void;
}) {
  const [entry] = changes.marks;
  if (!entry || !changes.event) return null;
  const [id, mark] = entry;
  const object = world.objects.find((each) => each.id === id);
  const relation = world.relations.find((each) => each.id === id);
  const fields = changes.fields.get(id);
  return (
    <p class={`change-line mark-${mark}`}>
      <span class="mark-word">{mark}</span>{" "}
      {object ? (
        <button type="button" class="link" onClick={() => choose(id)}>
          <Isolated text={`${oneLine(object.type, 40)}: ${oneLine(labelOf(object), 90)}`} />
        </button>
      ) : (
        <Isolated text={relation ? relationText(relation, world) : id} />
      )}
      {fields && (
        <span class="dim">
          {" "}
          (
          {fields
            .slice(0, 6)
            .map((each) => oneLine(each, 30))
            .join(", ")}
          )
        </span>
      )}
      <span class="dim"> by event {number(changes.event.position + 1)}</span>
    </p>
  );
}

function relationText(relation: Relation, world: World): string {
  const label = (id: string) => {
    const found = world.objects.find((each) => each.id === id);
    return oneLine(found ? labelOf(found) : id, 50);
  };
  return `${label(relation.source_id)} ${oneLine(relation.type, 40)} ${label(relation.target_id)}`;
}

interface TableProps {
  objects: readonly WorldObject[];
  type: string | null;
  changes: Changes;
  chosen: string | null;
  choose(id: string): void;
}

/** How many fields of a type have a column. */
const MOST_FIELDS = 5;

function ObjectTable({ objects, type, changes, chosen, choose }: TableProps) {
  const columns = useMemo(
    () => (type === null ? ofAllTypes(changes) : ofOneType(objects, changes)),
    [objects, type, changes],
  );
  if (objects.length === 0) return <Empty>No object matches. Clear the filter to see all objects.</Empty>;
  return (
    <VirtualTable
      label="Objects"
      columns={columns}
      rows={objects}
      idOf={(each) => each.id}
      classOf={(each) => (changes.marks.has(each.id) ? `mark-${changes.marks.get(each.id)}` : "")}
      chosen={chosen}
      choose={(each) => choose(each.id)}
    />
  );
}

function ofAllTypes(changes: Changes): Column<WorldObject>[] {
  return [
    {
      id: "type",
      title: "Type",
      width: "type",
      isMain: true,
      cell: (each) => <Isolated text={oneLine(each.type, 40)} />,
    },
    {
      id: "label",
      title: "Object",
      isMain: true,
      cell: (each) => <Isolated text={oneLine(labelOf(each), 160)} />,
    },
    {
      id: "fields",
      title: "Fields",
      cell: (each) => <Isolated class="dim" text={valueLine(otherFields(each), 160)} />,
    },
    markColumn(changes),
  ];
}

function ofOneType(objects: readonly WorldObject[], changes: Changes): Column<WorldObject>[] {
  const uses = new Map<string, number>();
  for (const each of objects.slice(0, 500)) {
    const label = labelOf(each);
    for (const [name, value] of Object.entries(each.data)) {
      // The fields that name objects come first, and those without a value last.
      const weight = value === label ? 1000 : value === null || value === "" ? 0 : 1;
      uses.set(name, (uses.get(name) ?? 0) + weight);
    }
  }
  const used = [...uses].filter(([, weight]) => weight > 0);
  const names = used.sort((a, b) => b[1] - a[1]).slice(0, MOST_FIELDS);
  return [
    ...names.map(([name], at): Column<WorldObject> => ({
      id: `field ${name}`,
      ...(at === 0 ? { width: "label" as const } : {}),
      title: oneLine(name, 40),
      isMain: at < 2,
      cell: (each) => (
        <Isolated
          text={valueLine(each.data[name] ?? "", 120)}
          class={changes.fields.get(each.id)?.includes(name) ? "is-changed" : ""}
        />
      ),
    })),
    { id: "id", title: "Id", cell: (each) => <Isolated class="dim mono" text={oneLine(each.id, 60)} /> },
    markColumn(changes),
  ];
}

function markColumn(changes: Changes): Column<WorldObject> {
  return {
    id: "mark",
    title: "Change",
    width: "mark",
    cell: (each) => {
      const mark = changes.marks.get(each.id);
      return mark ? <span class="mark-word">{mark}</span> : null;
    },
  };
}

function otherFields(object: WorldObject): Record<string, unknown> {
  const label = labelOf(object);
  return Object.fromEntries(Object.entries(object.data).filter(([, value]) => value !== label));
}

interface GraphProps {
  world: World;
  objects: readonly WorldObject[];
  isFiltered: boolean;
  changes: Changes;
  chosen: WorldObject | null;
  choose(id: string | null): void;
  view: ViewProps;
}

/** How many lines have labels at once; more of them hide each other. */
const MOST_LABELS = 24;

const RANGES = [
  { id: "all", title: "All" },
  { id: "near", title: "Around the object" },
] as const;

function WorldGraph({ world, objects, isFiltered, changes, chosen, choose, view }: GraphProps) {
  const range = chosen && more("range") === "near" ? "near" : "all";
  const part = useMemo(() => {
    if (range === "near" && chosen) return neighbourhood(world, chosen.id, 2);
    if (!isFiltered) return world;
    const ids = new Set(objects.map((each) => each.id));
    return partOf(world, (each) => ids.has(each.id));
  }, [world, objects, isFiltered, range, chosen?.id]);
  const isByType = !isDrawable(part);
  const figure = useMemo(
    () => (isByType ? typeFigure(world, changes, "World by type") : objectFigure(part, changes, "World")),
    [world, part, isByType, changes],
  );
  if (figure.boxes.length === 0)
    return <Empty>No object matches. Clear the filter to see all objects.</Empty>;
  const press = (id: string) =>
    isByType ? setMore(view, { type: id, form: "table" }) : choose(id === chosen?.id ? null : id);
  return (
    <>
      {chosen && (
        <Segments
          label="Part of the graph"
          choices={RANGES}
          value={range}
          choose={(id) => setMore(view, { range: id })}
        />
      )}
      {isByType && (
        <p class="hint">
          More than {MOST_OBJECTS} objects: the graph shows types. Choose a type to list its objects; choose
          an object in the table to draw what is around it.
        </p>
      )}
      <FigureView
        figure={figure}
        active={isByType ? null : (chosen?.id ?? null)}
        choose={press}
        isLabelled={figure.lines.length <= MOST_LABELS}
      />
    </>
  );
}

register({ id: "world", title: "World", order: 10, Component: WorldView });
