/** The form that forks a run at an event, with a change. */

import { useEffect, useId, useState } from "preact/hooks";

import type { Json, JsonObject, Kit, World } from "../data/shapes";
import type { ForkRequest } from "../data/source";
import { kando } from "../ui/commands";
import { number } from "../ui/format";
import { useLoaded } from "../ui/hooks";
import { fieldChanges, isData, labelOf } from "./logic/changes";
import { oneLine } from "./logic/text";
import { more } from "./parts/address-more";
import { ActionFoot, Segments, useActing } from "./parts/controls";
import type { ViewProps } from "./registry";

const PLACES = [
  { id: "at", title: "After a number of events" },
  { id: "before", title: "Before the selected event" },
] as const;

/** The values of the form; an empty text changes nothing. */
export interface ForkDraft {
  place: "at" | "before";
  at: number;
  before: string | null;
  object: string;
  /** The fields to set, as JSON. */
  patch: string;
  goal: string;
  model: string;
  kit: string;
  fresh: boolean;
}

/** Return the request of a form, or the field that is malformed. */
export function forkRequest(draft: ForkDraft): ForkRequest | { error: string } {
  const request: ForkRequest =
    draft.place === "before" && draft.before !== null ? { before: draft.before } : { at: draft.at };
  if (draft.object) {
    const fields = patchOf(draft);
    if (!fields) return { error: "The fields to change must be a JSON object." };
    if (Object.keys(fields).length) request["patches"] = { [draft.object]: fields };
  }
  if (draft.goal.trim()) request["goal"] = draft.goal.trim();
  if (draft.model.trim()) request["model"] = draft.model.trim();
  if (draft.kit) request["kit"] = draft.kit;
  if (draft.fresh) request["fresh"] = true;
  return request;
}

/** Return the command that does the same. */
export function forkCommand(run: string, draft: ForkDraft, resumes: boolean): string {
  const words: (string | number)[] =
    draft.place === "before" && draft.before !== null ? ["--before", draft.before] : ["--at", draft.at];
  const fields = draft.object ? patchOf(draft) : null;
  if (fields && Object.keys(fields).length) words.push("--patch", draft.object, JSON.stringify(fields));
  if (draft.goal.trim()) words.push("--goal", draft.goal.trim());
  if (draft.model.trim()) words.push("--model", draft.model.trim());
  if (draft.kit) words.push("--kit", draft.kit);
  if (draft.fresh) words.push("--fresh");
  if (resumes) words.push("--run");
  return kando("fork", run, ...words);
}

function patchOf(draft: ForkDraft): JsonObject | null {
  try {
    const value: unknown = JSON.parse(draft.patch || "{}");
    return isData(value) ? (value as JsonObject) : null;
  } catch {
    return null;
  }
}

export function ForkForm({ view, close }: { view: ViewProps; close(): void }) {
  const { source, run, end, event } = view;
  const id = useId();
  const acting = useActing();
  const [resumes, setResumes] = useState(true);
  const [problem, setProblem] = useState<string | null>(null);
  const [draft, setDraft] = useState<ForkDraft>({
    place: "at",
    at: end,
    before: event,
    object: more("object") ?? "",
    patch: "",
    goal: "",
    model: "",
    kit: "",
    fresh: false,
  });
  const set = (changes: Partial<ForkDraft>) => setDraft((old) => ({ ...old, ...changes }));
  useEffect(() => set({ before: event }), [event]);
  const kits = useLoaded<Kit[]>(() => source.kits(), [source]);
  const world = useLoaded<World>(() => source.world(run, draft.at), [source, run, draft.at]);
  const fork = () =>
    acting.act(async () => {
      const request = forkRequest(draft);
      setProblem("error" in request && typeof request.error === "string" ? request.error : null);
      if ("error" in request) return;
      const { run_id: branch } = await source.fork(run, resumes ? { ...request, resume: true } : request);
      view.announce(resumes ? `Branch ${branch} runs.` : `Branch ${branch} is ready.`);
      view.navigate({ run: branch, at: null, event: null, view: "branches", more: {} });
    });
  return (
    <form
      class="card fork-form"
      aria-labelledby={`${id}-title`}
      onSubmit={(submitted) => {
        submitted.preventDefault();
        void fork();
      }}
    >
      <header class="card-head">
        <h2 id={`${id}-title`}>Fork this run</h2>
        <button type="button" class="icon-button" aria-label="Close the form" onClick={close}>
          ×
        </button>
      </header>
      <div class="form-grid">
        <div class="form-field">
          {event && (
            <Segments
              label="Place of the fork"
              choices={PLACES}
              value={draft.place}
              choose={(place) => set({ place })}
            />
          )}
          {draft.place === "at" || !event ? (
            <label class="inline-label">
              <input
                type="number"
                min={0}
                max={view.status.events}
                value={draft.at}
                onInput={(input) => set({ at: clamp(input.currentTarget.valueAsNumber, view.status.events) })}
              />{" "}
              <span class="one-line">of {number(view.status.events)} events are shared</span>
            </label>
          ) : (
            <p class="dim mono">{oneLine(event, 80)}</p>
          )}
        </div>
        <ObjectPatch draft={draft} set={set} world={world.value} />
        <label class="form-field">
          <span class="field-label">
            Additional goal <span class="dim">(optional)</span>
          </span>
          <textarea
            rows={2}
            dir="auto"
            value={draft.goal}
            onInput={(input) => set({ goal: input.currentTarget.value })}
          />
        </label>
        <label class="form-field">
          <span class="field-label">
            Model of all requests <span class="dim">(optional)</span>
          </span>
          <input
            type="text"
            value={draft.model}
            placeholder="The models that the run names"
            onInput={(input) => set({ model: input.currentTarget.value })}
          />
        </label>
        <label class="form-field">
          <span class="field-label">Kit</span>
          <select value={draft.kit} onChange={(input) => set({ kit: input.currentTarget.value })}>
            <option value="">
              {view.status.kit ? `${oneLine(view.status.kit, 60)} (the run's kit)` : "The run's kit"}
            </option>
            {(kits.value ?? [])
              .filter((each) => each.name !== view.status.kit)
              .map((each) => (
                <option key={each.name} value={each.name}>
                  {oneLine(each.name, 60)}
                </option>
              ))}
          </select>
        </label>
        <div class="form-field is-wide">
          <label class="check">
            <input
              type="checkbox"
              checked={draft.fresh}
              onChange={(input) => set({ fresh: input.currentTarget.checked })}
            />{" "}
            Ask models again instead of using cached answers
          </label>
          <label class="check">
            <input
              type="checkbox"
              checked={resumes}
              onChange={(input) => setResumes(input.currentTarget.checked)}
            />{" "}
            Resume the branch at once
          </label>
        </div>
      </div>
      {problem && (
        <p class="field-error" role="alert">
          {problem}
        </p>
      )}
      <ActionFoot command={forkCommand(run, draft, resumes)} acting={acting}>
        <button type="submit" class="button primary" disabled={acting.isBusy}>
          {resumes ? "Fork and resume" : "Fork"}
        </button>
      </ActionFoot>
    </form>
  );
}

/** How many objects the choice offers; others are chosen in the world first. */
const MOST_CHOICES = 500;

interface PatchProps {
  draft: ForkDraft;
  set(changes: Partial<ForkDraft>): void;
  world: World | null;
}

/** The object whose fields the branch changes: its fields are edited as JSON, and only changes are sent. */
function ObjectPatch({ draft, set, world }: PatchProps) {
  const object = world?.objects.find((each) => each.id === draft.object);
  const [text, setText] = useState<string | null>(null);
  const original = object ? JSON.stringify(object.data, null, 2) : "{}";
  const edit = (next: string) => {
    setText(next);
    set({ patch: patchText(object?.data ?? {}, next) });
  };
  return (
    <div class="form-field is-wide">
      <label>
        <span class="field-label">
          Object to change <span class="dim">(optional)</span>
        </span>
        <select
          value={draft.object}
          onChange={(input) => {
            setText(null);
            set({ object: input.currentTarget.value, patch: "" });
          }}
        >
          <option value="">No object</option>
          {draft.object && !object && <option value={draft.object}>{oneLine(draft.object, 80)}</option>}
          {(world?.objects ?? []).slice(0, MOST_CHOICES).map((each) => (
            <option key={each.id} value={each.id}>
              {oneLine(`${each.type}: ${labelOf(each)}`, 90)}
            </option>
          ))}
          {object && (world?.objects.indexOf(object) ?? 0) >= MOST_CHOICES && (
            <option value={object.id}>{oneLine(`${object.type}: ${labelOf(object)}`, 90)}</option>
          )}
        </select>
      </label>
      {object && (
        <label>
          <span class="field-label">Its fields on the branch</span>
          <textarea
            class="code-input"
            rows={Math.min(14, original.split("\n").length + 1)}
            dir="ltr"
            spellcheck={false}
            value={text ?? original}
            onInput={(input) => edit(input.currentTarget.value)}
          />
        </label>
      )}
    </div>
  );
}

/** Return the fields that a text of JSON changes, as JSON; a malformed text stays as it is. */
function patchText(before: JsonObject, text: string): string {
  try {
    const after: unknown = JSON.parse(text);
    if (!isData(after)) return text;
    const changes = fieldChanges(before, after).map(
      (each) => [each.name, (each.after ?? null) as Json] as const,
    );
    return JSON.stringify(Object.fromEntries(changes));
  } catch {
    return text;
  }
}

function clamp(value: number, most: number): number {
  return Number.isFinite(value) ? Math.max(0, Math.min(Math.round(value), most)) : most;
}
