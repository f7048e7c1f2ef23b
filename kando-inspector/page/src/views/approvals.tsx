/** Approvals and questions that wait for a person: approve, deny, answer. */

import { useId, useMemo, useState } from "preact/hooks";

import type { Approval, Json } from "../data/shapes";
import { kando } from "../ui/commands";
import { useLoaded } from "../ui/hooks";
import { JsonTree } from "../ui/json";
import { CopyCommand, Empty, Problem } from "../ui/parts";
import { Isolated, LongText } from "../ui/text";
import { isData, isSame } from "./logic/changes";
import { formFields, replyOf } from "./logic/schema-form";
import { oneLine } from "./logic/text";
import { ActionFoot, useActing } from "./parts/controls";
import { CardHead, runOf } from "./parts/card-head";
import { FormInput } from "./parts/form-input";
import { register, type ViewProps } from "./registry";

function ApprovalsView(props: ViewProps) {
  const { source, run, at, end, status } = props;
  const { value, error, reload } = useLoaded(
    () => source.approvals(run, at),
    [source, run, at, end, status.approvals, status.questions],
  );
  const [decided, setDecided] = useState<ReadonlyMap<string, string>>(new Map());
  const done = (id: string, text: string) => {
    props.announce(text);
    setDecided((old) => new Map(old).set(id, text));
    reload();
  };
  if (error) return <Problem error={error} retry={reload} />;
  if (!value) return <Empty>Loading the approvals…</Empty>;
  const isNow = at === null || at >= status.events;
  return (
    <div class="approvals">
      {value.some((each) => decided.has(each.event_id)) && <Continue view={props} />}
      {!isNow && value.length > 0 && (
        <p class="hint">
          These were pending after {at} events.{" "}
          <button type="button" class="link" onClick={() => props.navigate({ at: null })}>
            Go to the end of the run to decide
          </button>
        </p>
      )}
      {value.length === 0 && <NonePending view={props} isNow={isNow} />}
      {value.map((each) =>
        decided.has(each.event_id) ? (
          <p key={each.event_id} class="card">
            <strong>{decided.get(each.event_id)}</strong>{" "}
            <Isolated text={oneLine(questionOf(each) ?? titleOf(each), 160)} />
          </p>
        ) : questionOf(each) === null ? (
          <ApprovalCard
            key={each.event_id}
            approval={each}
            view={props}
            canAct={props.canAct && isNow}
            done={done}
          />
        ) : (
          <QuestionCard
            key={each.event_id}
            question={each}
            view={props}
            canAct={props.canAct && isNow}
            done={done}
          />
        ),
      )}
    </div>
  );
}

function NonePending({ view, isNow }: { view: ViewProps; isNow: boolean }) {
  return (
    <Empty>
      {isNow
        ? "The run waits for no approval and no answer of a person."
        : "At this event the run waited for no approval and no answer of a person."}{" "}
      <CopyCommand command={kando("approvals", view.run, "--all")} label="List past decisions" />
    </Empty>
  );
}

/** Offers to resume the run after a decision. */
function Continue({ view }: { view: ViewProps }) {
  const acting = useActing();
  const { run, source, status } = view;
  if (status.claim !== null || status.state === "running" || status.state === "finished") return null;
  const resume = () =>
    acting.act(async () => {
      await source.resume(run);
      view.announce("The run resumes.");
    });
  return (
    <div class="card notice">
      <p>Your decision is in the inbox of the run, which records it when it continues.</p>
      <ActionFoot command={kando("resume", run)} acting={acting}>
        <button type="button" class="button primary" disabled={acting.isBusy} onClick={resume}>
          Resume the run
        </button>
      </ActionFoot>
    </div>
  );
}

/** Return the text of a question, or null if it is an approval. */
function questionOf(item: Approval): string | null {
  if (typeof item.question === "string") return item.question;
  return item["type"] === "person.asked" || item.kind === "question" ? String(item["reason"] ?? "") : null;
}

interface CardProps {
  view: ViewProps;
  canAct: boolean;
  /** Called with the id of the item and what was decided. */
  done(id: string, text: string): void;
}

function ApprovalCard({ approval, view, canAct, done }: CardProps & { approval: Approval }) {
  const id = useId();
  const acting = useActing();
  const run = runOf(approval, view);
  const asked = approval["arguments"] ?? null;
  const original = useMemo(() => JSON.stringify(asked, null, 2), [asked]);
  const [text, setText] = useState(original);
  const [reason, setReason] = useState("");
  const edited = useMemo(() => parsed(text), [text]);
  const isTool = typeof approval["tool"] === "string";
  const isChanged = isTool && edited !== undefined && !isSame(edited, asked);
  const isMalformed = isTool && (edited === undefined || !isData(edited));
  const args = isChanged ? (edited as Json) : undefined;
  const approve = () =>
    acting.act(async () => {
      await view.source.decide(run, approval.event_id, {
        decision: "approve",
        ...(args === undefined ? {} : { args }),
      });
      done(approval.event_id, isChanged ? "Approved with other arguments." : "Approved.");
    });
  const deny = () =>
    acting.act(async () => {
      await view.source.decide(run, approval.event_id, { decision: "deny", ...(reason ? { reason } : {}) });
      done(approval.event_id, "Denied.");
    });
  const changed = args === undefined ? [] : ["--arguments", JSON.stringify(args)];
  return (
    <article class="card" aria-labelledby={`${id}-title`}>
      <CardHead
        item={approval}
        view={view}
        title={titleOf(approval)}
        titleId={`${id}-title`}
        kind="Approval"
      />
      {typeof approval["reason"] === "string" && approval["reason"] && (
        <p class="card-reason">
          <Isolated text={oneLine(approval["reason"], 600)} />
        </p>
      )}
      {isTool && canAct && (
        <>
          <label class="field-label" for={`${id}-arguments`}>
            Arguments {isChanged && <span class="mark-word">changed</span>}
          </label>
          <textarea
            id={`${id}-arguments`}
            class="code-input"
            rows={Math.min(14, text.split("\n").length + 1)}
            spellcheck={false}
            dir="ltr"
            value={text}
            aria-invalid={isMalformed}
            aria-describedby={isMalformed ? `${id}-error` : undefined}
            onInput={(event) => setText(event.currentTarget.value)}
          />
          {isMalformed && (
            <p class="field-error" id={`${id}-error`}>
              The arguments must be a JSON object.
            </p>
          )}
        </>
      )}
      {isTool && !canAct && <JsonTree value={asked as Json} />}
      {!isTool && <Held held={approval["held"]} />}
      {canAct ? (
        <>
          <label class="field-label" for={`${id}-reason`}>
            Reason, if you deny it
          </label>
          <input
            type="text"
            id={`${id}-reason`}
            value={reason}
            maxLength={2000}
            onInput={(event) => setReason(event.currentTarget.value)}
          />
          <ActionFoot
            command={
              reason
                ? kando("deny", run, approval.event_id, "--reason", reason)
                : kando("approve", run, approval.event_id, ...changed)
            }
            acting={acting}
          >
            <button
              type="button"
              class="button primary"
              disabled={acting.isBusy || isMalformed}
              onClick={approve}
            >
              {isChanged ? "Approve with these arguments" : "Approve"}
            </button>
            <button type="button" class="button danger" disabled={acting.isBusy} onClick={deny}>
              Deny
            </button>
            {isChanged && (
              <button type="button" class="button" onClick={() => setText(original)}>
                Undo the change
              </button>
            )}
          </ActionFoot>
        </>
      ) : (
        <p class="card-foot">
          <CopyCommand
            command={kando("approve", run, approval.event_id)}
            label="Copy the command that approves"
          />
          <CopyCommand command={kando("deny", run, approval.event_id)} label="Copy the command that denies" />
        </p>
      )}
    </article>
  );
}

function titleOf(approval: Approval): string {
  const tool = approval["tool"];
  if (typeof tool === "string") return `Call ${oneLine(tool, 100)}`;
  const held = Array.isArray(approval["held"]) ? approval["held"] : [];
  return held.length > 1
    ? `Record ${held.length} events`
    : `Record ${oneLine(String(approval["type"] ?? "an event"), 100)}`;
}

/** The events that are held back until the approval. */
function Held({ held }: { held: unknown }) {
  if (!Array.isArray(held) || held.length === 0) return null;
  return <JsonTree value={held as Json} open={3} />;
}

function QuestionCard({ question, view, canAct, done }: CardProps & { question: Approval }) {
  const id = useId();
  const acting = useActing();
  const run = runOf(question, view);
  const schema = question.schema;
  const fields = useMemo(() => (schema ? formFields(schema) : []), [schema]);
  const [text, setText] = useState("");
  const [texts, setTexts] = useState<ReadonlyMap<string, string>>(new Map());
  const [problem, setProblem] = useState<{ error: string; field: string } | null>(null);
  const reply = schema ? replyOf(fields, texts) : { value: text };
  const words = "value" in reply ? (schema ? JSON.stringify(reply.value) : text) : "ANSWER";
  const send = () =>
    acting.act(async () => {
      setProblem("error" in reply ? reply : null);
      if ("error" in reply) return;
      await view.source.answer(run, question.event_id, { reply: reply.value as Json });
      done(question.event_id, "Answered.");
    });
  const asked = questionOf(question) ?? "";
  return (
    <form
      class="card"
      aria-labelledby={`${id}-title`}
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <CardHead
        item={question}
        view={view}
        title={oneLine(asked, 200)}
        titleId={`${id}-title`}
        kind="Question"
      />
      {(asked.length > 200 || asked.includes("\n")) && <LongText text={asked} />}
      {question.reminded > 0 && (
        <p class="dim">
          A person was reminded {question.reminded === 1 ? "once" : `${question.reminded} times`}.
        </p>
      )}
      {canAct && !schema && (
        <>
          <label class="field-label" for={`${id}-text`}>
            Answer
          </label>
          <textarea
            id={`${id}-text`}
            rows={3}
            dir="auto"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </>
      )}
      {canAct &&
        fields.map((field) => (
          <FormInput
            key={field.name}
            field={field}
            value={texts.get(field.name) ?? field.initial}
            error={problem?.field === field.name ? problem.error : null}
            change={(value) => setTexts(new Map(texts).set(field.name, value))}
          />
        ))}
      {canAct ? (
        <ActionFoot command={kando("reply", run, question.event_id, words)} acting={acting}>
          <button
            type="submit"
            class="button primary"
            disabled={acting.isBusy || (!schema && text.trim() === "")}
          >
            Answer
          </button>
        </ActionFoot>
      ) : (
        <p class="card-foot">
          <CopyCommand
            command={kando("reply", run, question.event_id, "ANSWER")}
            label="Copy the command that answers"
          />
        </p>
      )}
    </form>
  );
}

/** Return the value of a JSON text, or undefined if it is malformed. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

register({
  id: "approvals",
  title: "Approvals",
  order: 30,
  count: (status) => status.approvals + status.questions,
  Component: ApprovalsView,
});
