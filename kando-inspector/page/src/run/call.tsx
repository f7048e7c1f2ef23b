/** A call with its answer side by side: a prompt, a tool, or a question to a person. */

import type { ComponentChildren } from "preact";

import type { EventIndex } from "../data/event-index";
import type { Json, JsonObject, LedgerEvent } from "../data/shapes";
import { failure } from "../data/summary";
import { number, usd } from "../ui/format";
import { useLoaded, useVersion } from "../ui/hooks";
import { JsonTree } from "../ui/json";
import { Isolated, LongText } from "../ui/text";

const ANSWER_OF: Record<string, string> = {
  "llm.response": "llm.request",
  "tool.returned": "tool.called",
  "person.replied": "person.asked",
};
const REQUESTS = new Set(Object.values(ANSWER_OF));

interface Props {
  index: EventIndex;
  event: LedgerEvent;
  select(id: string): void;
}

export function CallPanes({ index, event, select }: Props) {
  const isRequest = REQUESTS.has(event.type);
  const isAnswer = event.type in ANSWER_OF;
  const version = useVersion(index);
  const answerAt = isRequest ? index.answer(event.position) : -1;
  const otherId = isAnswer ? (event.cause[0] ?? null) : answerAt >= 0 ? index.id(answerAt) : null;
  const other = useLoaded(
    async () => (otherId ? await index.find(otherId) : null),
    [index, otherId, otherId ? 0 : version],
  ).value;
  if (!isRequest && !isAnswer) return null;
  const request = isRequest ? event : other?.type === ANSWER_OF[event.type] ? other : null;
  const answer = isAnswer ? event : other && other.type in ANSWER_OF ? other : null;
  const head = (title: string, each: LedgerEvent | null) => (
    <div class="section-head">
      <h3>{title}</h3>
      {each && each !== event && (
        <button type="button" class="link" onClick={() => select(each.id)}>
          <Isolated text={each.id} />
        </button>
      )}
    </div>
  );
  return (
    <div class="call">
      <div class="call-columns">
      <section class="call-pane" aria-label="Request">
        {head(request?.type === "llm.request" ? "Prompt" : "Request", request)}
        {request ? <Request event={request} /> : <p class="dim">Its request is not in the run.</p>}
      </section>
      <section class="call-pane" aria-label="Answer">
        {head("Answer", answer)}
        {answer ? <Answer event={answer} /> : <Pending text={index.streamed.get(event.id) ?? ""} />}
      </section>
      </div>
    </div>
  );
}

/** The place of an answer that is not recorded yet, with what has arrived of it. */
function Pending({ text }: { text: string }) {
  return (
    <>
      <p class="dim">Pending: no answer is recorded yet.</p>
      {text && <LongText text={text} />}
    </>
  );
}

function Request({ event }: { event: LedgerEvent }) {
  const { data } = event;
  if (event.type === "llm.request") {
    const messages = Array.isArray(data.messages) ? data.messages : [];
    return (
      <>
        <Facts pairs={[["Model", textOf(data.model)]]} />
        {messages.map((each, i) => (
          <Message key={i} message={each} />
        ))}
      </>
    );
  }
  if (event.type === "tool.called") {
    return (
      <>
        <Facts pairs={[["Tool", textOf(data.tool)]]} />
        <JsonTree value={data.arguments ?? null} />
      </>
    );
  }
  return <LongText text={textOf(data.question) || JSON.stringify(data, null, 2)} />;
}

function Answer({ event }: { event: LedgerEvent }) {
  const { data } = event;
  const error = failure(data);
  if (error) return <p class="failure"><Isolated text={error} /></p>;
  if (event.type === "tool.returned") return <Body value={data.result ?? null} />;
  const usage = (data.usage ?? {}) as JsonObject;
  const facts: [string, string][] = [
    ["Model", textOf(data.model)],
    ["Cost", typeof data.cost_usd === "number" ? usd(data.cost_usd) : ""],
    ["Tokens", tokens(usage)],
    ["Cached", data.cached === true ? "yes" : ""],
  ];
  const hasData = typeof data.data === "object" && data.data !== null;
  return (
    <>
      <Facts pairs={facts} />
      {hasData ? <JsonTree value={data.data ?? null} /> : <Body value={data.text ?? data.data ?? null} />}
      {Array.isArray(data.tool_calls) && <JsonTree value={data.tool_calls} />}
    </>
  );
}

function tokens(usage: JsonObject): string {
  const { input_tokens: input, output_tokens: output } = usage;
  if (typeof input !== "number" && typeof output !== "number") return "";
  return `${number(Number(input ?? 0))} in, ${number(Number(output ?? 0))} out`;
}

function Message({ message }: { message: Json }) {
  if (typeof message !== "object" || message === null || Array.isArray(message)) {
    return <Body value={message} />;
  }
  const { role, content, ...rest } = message;
  const more = Object.keys(rest).length > 0 ? rest : null;
  return (
    <article class={`message role-${role === "user" || role === "assistant" ? role : "other"}`}>
      <h4>
        <Isolated text={textOf(role) || "message"} />
      </h4>
      {Array.isArray(content) ? content.map((part, i) => <Part key={i} part={part} />) : <Body value={content ?? null} />}
      {more && <JsonTree value={more} open={1} />}
    </article>
  );
}

function Part({ part }: { part: Json }) {
  const about = typeof part === "object" && part !== null && !Array.isArray(part) ? part : null;
  return typeof about?.text === "string" ? <LongText text={about.text} /> : <JsonTree value={part} open={1} />;
}

function Body({ value }: { value: Json }): ComponentChildren {
  if (value === null) return <p class="dim">empty</p>;
  return typeof value === "string" ? <LongText text={value} /> : <JsonTree value={value} />;
}

function Facts({ pairs }: { pairs: [string, string][] }) {
  const shown = pairs.filter(([, value]) => value);
  if (shown.length === 0) return null;
  return (
    <dl class="facts small">
      {shown.map(([name, value]) => (
        <>
          <dt>{name}</dt>
          <dd>
            <Isolated text={value} />
          </dd>
        </>
      ))}
    </dl>
  );
}

function textOf(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}
