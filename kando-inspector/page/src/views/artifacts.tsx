/** The texts that a run has written for its reader, such as a report. */

import { useState } from "preact/hooks";

import type { Artifact } from "../data/shapes";
import { kando, runAt } from "../ui/commands";
import { number } from "../ui/format";
import { useLoaded } from "../ui/hooks";
import { CopyCommand, Empty, Problem } from "../ui/parts";
import { Isolated, LongText } from "../ui/text";
import { oneLine } from "./logic/text";
import { more, setMore } from "./parts/address-more";
import { saveFile, Segments } from "./parts/controls";
import { MarkdownText } from "./parts/markdown-text";
import { register, type ViewProps } from "./registry";

function ArtifactsView(props: ViewProps) {
  const { source, run, at, end } = props;
  const { value, error, reload } = useLoaded(() => source.artifacts(run, at), [source, run, at, end]);
  if (error) return <Problem error={error} retry={reload} />;
  if (!value) return <Empty>Loading the artifacts…</Empty>;
  if (value.length === 0) {
    return (
      <Empty>
        The run has written no artifact up to this event. An artifact is a text for a reader, such as a
        report; most runs write it last.
      </Empty>
    );
  }
  const chosen =
    value.find((each) => idOf(each) === more("artifact")) ?? value.findLast(isDocument) ?? value.at(-1);
  return (
    <div class="artifacts">
      {value.length > 1 && (
        <ul class="artifact-list" aria-label="Artifacts">
          {value.map((each) => (
            <li key={idOf(each)}>
              <button
                type="button"
                class="artifact-name"
                aria-pressed={each === chosen}
                onClick={() => setMore(props, { artifact: idOf(each) })}
              >
                <Isolated text={oneLine(each.name, 80)} />
                <span class="dim">
                  <Isolated text={oneLine(each.media_type, 40)} />
                </span>
              </button>
            </li>
          ))}
        </ul>
      )}
      {chosen && <ArtifactPanel key={idOf(chosen)} artifact={chosen} view={props} />}
    </div>
  );
}

/** Whether an artifact is Markdown, which is drawn as a document. */
function isDocument(artifact: Artifact): boolean {
  return /^text\/(?:x-)?markdown/.test(artifact.media_type);
}

/** Return the id of the object that has the artifact, or its name. */
function idOf(artifact: Artifact): string {
  const object = artifact["object_id"];
  return artifact.id ?? (typeof object === "string" ? object : artifact.name);
}

const FORMS = [
  { id: "text", title: "Document" },
  { id: "source", title: "Source" },
] as const;

/** Longest text that is drawn as a document; a longer one is shown as its source. */
const LONGEST = 400_000;

function ArtifactPanel({ artifact, view }: { artifact: Artifact; view: ViewProps }) {
  const { source, run, at, end } = view;
  const id = idOf(artifact);
  const needed = typeof artifact.text !== "string";
  const loaded = useLoaded(
    async () => (needed ? source.artifact(run, id, at) : artifact),
    [source, run, id, at, needed ? end : 0, artifact],
  );
  const [form, setForm] = useState<"text" | "source">("text");
  const text = loaded.value?.text;
  const isMarkdown = isDocument(artifact) && (text?.length ?? 0) <= LONGEST;
  return (
    <article class="artifact" aria-label={oneLine(artifact.name, 100)}>
      <div class="toolbar">
        <h2>
          <Isolated text={oneLine(artifact.name, 100)} />
        </h2>
        {isMarkdown && <Segments label="Form" choices={FORMS} value={form} choose={(id) => setForm(id)} />}
        <Downloads artifact={artifact} text={text ?? null} view={view} />
        {typeof artifact["object_id"] === "string" && (
          <WhyButton object={artifact["object_id"]} view={view} />
        )}
        <CopyCommand command={kando("artifacts", runAt(run, at), artifact.name)} />
      </div>
      {loaded.error && <Problem error={loaded.error} retry={loaded.reload} />}
      {typeof text === "string" &&
        (isMarkdown && form === "text" ? <MarkdownText text={text} /> : <LongText text={text} />)}
      {typeof text === "string" && <p class="dim">{number(text.length)} characters</p>}
    </article>
  );
}

function WhyButton({ object, view }: { object: string; view: ViewProps }) {
  const open = async () => {
    const found = await view.source.object(view.run, object, view.at).catch(() => null);
    if (found) view.navigate({ view: "trace", event: found.event_id });
  };
  return (
    <button type="button" class="button" onClick={() => void open()}>
      Why does it exist?
    </button>
  );
}

/** Links of the server, or a file that the page makes itself. */
function Downloads({ artifact, text, view }: { artifact: Artifact; text: string | null; view: ViewProps }) {
  const formats = ["html", "pdf"] as const;
  const address = (format: string) => view.source.downloadUrl(view.run, { artifact: idOf(artifact), format });
  return (
    <>
      <button
        type="button"
        class="button"
        disabled={text === null}
        onClick={() => text !== null && saveFile(artifact.name, "text/plain;charset=utf-8", text)}
      >
        Download
      </button>
      {view.at === null &&
        formats.map((format) => {
          const link = address(format);
          return link ? (
            <a key={format} class="button" href={link} download={`${artifact.name}.${format}`}>
              {format.toUpperCase()}
            </a>
          ) : null;
        })}
    </>
  );
}

register({ id: "artifacts", title: "Artifacts", order: 25, Component: ArtifactsView });
