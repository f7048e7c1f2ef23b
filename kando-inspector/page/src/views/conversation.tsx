/** The conversations of a run with models: turns, calls of tools, compactions, and a message to send. */

import { useEffect, useId, useRef, useState } from "preact/hooks";

import { kando } from "../ui/commands";
import { number, plural } from "../ui/format";
import { JsonTree } from "../ui/json";
import { Empty, Problem } from "../ui/parts";
import { Isolated, LongText } from "../ui/text";
import type { Json } from "../data/shapes";
import {
  type Compaction,
  type Conversation,
  CONVERSATION_TYPES,
  conversationsIn,
  type Entry,
  eventsWithAll,
  type Listed,
  type Message,
  partsOf,
} from "./logic/conversations";
import { oneLine } from "./logic/text";
import { more, setMore } from "./parts/address-more";
import { useCoalesced } from "./parts/coalesced";
import { ActionFoot, useActing } from "./parts/controls";
import { eventsOfTypes } from "./parts/events-of-types";
import { MarkdownText } from "./parts/markdown-text";
import { register, type ViewProps } from "./registry";

function ConversationView(props: ViewProps) {
  const { source, run, end, at, status } = props;
  const wanted = more("conversation");
  const { value, error, reload } = useCoalesced(() => loaded(props, wanted), [source, run, end, wanted]);
  const conversations = value?.conversations ?? [];
  const chosen = conversations.find((each) => each.id === wanted) ?? conversations[0];
  const isNow = at === null || at >= status.events;
  return (
    <div class="conversations">
      {error && <Problem error={error} retry={reload} />}
      {!value && !error && <Empty>Loading the conversations…</Empty>}
      {value && conversations.length === 0 && <Empty>The run has asked no model up to this event.</Empty>}
      {conversations.length > 1 && chosen && (
        <Choice view={props} conversations={conversations} chosen={chosen} />
      )}
      {chosen && <Turns key={chosen.id} conversation={chosen} view={props} />}
      {isNow && props.canAct && value && (
        <Reply view={props} isChat={value.isChat} about={chosen?.about ?? null} />
      )}
      {!isNow && props.canAct && (
        <p class="hint">
          <button type="button" class="link" onClick={() => props.navigate({ at: null })}>
            Go to the end of the run to send a message
          </button>
        </p>
      )}
    </div>
  );
}

interface LoadedConversations {
  conversations: readonly Conversation[];
  /** Whether a person has sent a message to the run. */
  isChat: boolean;
}

/** How many requests are loaded with all their messages; of more, the chosen conversation is. */
const MOST_REQUESTS = 60;

async function loaded(
  { source, run, at, end, status }: ViewProps,
  wanted: string | null,
): Promise<LoadedConversations> {
  const isLong = source.isLive && status.llm_requests > MOST_REQUESTS;
  if (!isLong) {
    const events = await eventsOfTypes(source, run, CONVERSATION_TYPES, end);
    return {
      conversations: conversationsIn(events),
      isChat: events.some((each) => each.type === "human.message"),
    };
  }
  const listed = ((await source.conversations(run, at)) as unknown as Listed[]).reverse();
  const said = await eventsOfTypes(source, run, ["conversation.compacted", "human.message"], end);
  const chosen = listed.find((each) => each.id === wanted) ?? listed[0];
  const compactions = said.filter(
    (each) => each.type === "conversation.compacted" && each.data["conversation_id"] === chosen?.id,
  );
  const ids = chosen ? eventsWithAll(chosen, compactions) : [];
  const events = [...(await Promise.all(ids.map((id) => source.event(run, id)))), ...compactions];
  const [whole] = conversationsIn(events.sort((a, b) => a.position - b.position));
  const conversations = listed.map((each) => ({
    ...brief(each),
    ...(each === chosen && whole ? { entries: whole.entries, model: whole.model } : {}),
  }));
  return { conversations, isChat: said.some((each) => each.type === "human.message") };
}

function brief(listed: Listed): Conversation {
  const { id, about, turns } = listed;
  return {
    id,
    about,
    askedBy: listed.asked_by,
    model: "",
    entries: [],
    turns: turns.length,
    isWaiting: turns.some((each) => each.answer_id === null),
  };
}

/** How many conversations the choice offers. */
const MOST_OFFERED = 500;

function Choice({
  view,
  conversations,
  chosen,
}: {
  view: ViewProps;
  conversations: readonly Conversation[];
  chosen: Conversation;
}) {
  return (
    <div class="toolbar">
      <label class="inline-label is-growing">
        <span>Conversation</span>
        <select
          value={chosen.id}
          onChange={(event) => setMore(view, { conversation: event.currentTarget.value })}
        >
          {conversations.slice(0, MOST_OFFERED).map((each) => (
            <option key={each.id} value={each.id}>
              {oneLine(`${each.askedBy}${each.about ? `, about ${each.about}` : ""}`, 90)} (
              {plural(each.turns, "request")})
            </option>
          ))}
        </select>
      </label>
      <span class="dim toolbar-note">{plural(conversations.length, "conversation")}</span>
    </div>
  );
}

/** How many of the last entries are shown at first. */
const LAST = 60;

function Turns({ conversation, view }: { conversation: Conversation; view: ViewProps }) {
  const [shown, setShown] = useState(LAST);
  const entries = conversation.entries;
  const from = Math.max(0, entries.length - shown);
  return (
    <>
      <p class="dim conversation-head">
        <Isolated text={oneLine(conversation.askedBy, 80)} />, {plural(conversation.turns, "request")} to the
        model <Isolated text={oneLine(conversation.model || "of the kit", 80)} />
        {conversation.about && (
          <>
            , about{" "}
            <button
              type="button"
              class="link mono"
              onClick={() => setMore(view, { object: conversation.about }, "world")}
            >
              <Isolated text={oneLine(conversation.about, 60)} />
            </button>
          </>
        )}
      </p>
      {from > 0 && (
        <button type="button" class="button" onClick={() => setShown(shown + 500)}>
          Show {number(from)} earlier messages
        </button>
      )}
      <ol class="turns">
        {entries.slice(from).map((each, place) => (
          <EntryItem key={from + place} entry={each} view={view} />
        ))}
      </ol>
      {conversation.isWaiting && <p class="hint">The run waits for an answer of the model.</p>}
    </>
  );
}

function EntryItem({ entry, view }: { entry: Entry; view: ViewProps }) {
  return "compaction" in entry ? (
    <CompactionItem compaction={entry.compaction} view={view} />
  ) : (
    <MessageItem message={entry.message} view={view} />
  );
}

function CompactionItem({ compaction, view }: { compaction: Compaction; view: ViewProps }) {
  const { before, after } = compaction;
  return (
    <li class="compaction">
      <button type="button" class="link" onClick={() => view.select(compaction.event.id)}>
        Compacted
        {before !== null && after !== null ? ` from about ${number(before)} to ${number(after)} tokens` : ""}
      </button>
      {compaction.why && (
        <span class="dim">
          {" "}
          <Isolated text={oneLine(compaction.why, 80)} />
        </span>
      )}
    </li>
  );
}

const ROLES: Readonly<Record<string, string>> = {
  system: "System",
  user: "User",
  assistant: "Model",
  tool: "Tool",
};

function MessageItem({ message, view }: { message: Message; view: ViewProps }) {
  const event = message.event;
  const [isOpen, setOpen] = useState(message.role !== "system");
  const role = ROLES[message.role] ?? message.role;
  return (
    <li class={`turn role-${Object.hasOwn(ROLES, message.role) ? message.role : "other"}`}>
      <header class="turn-head">
        <strong>
          <Isolated text={oneLine(role, 30)} />
        </strong>
        {message.role === "system" && (
          <button type="button" class="link" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
            {isOpen ? "Hide" : "Show"}
          </button>
        )}
        {event && (
          <button type="button" class="link dim" title="Show the event" onClick={() => view.select(event.id)}>
            event {number(event.position + 1)}
          </button>
        )}
      </header>
      {isOpen && <Content message={message} />}
      {message.error !== null && (
        <p class="field-error">
          <Isolated text={oneLine(message.error, 600)} />
        </p>
      )}
      {message.calls.map((call, place) => (
        <div key={place} class="tool-call">
          <span class="mark-word">call</span> <Isolated class="mono" text={oneLine(call.name, 80)} />
          <JsonTree value={call.arguments as Json} open={1} />
        </div>
      ))}
    </li>
  );
}

function Content({ message }: { message: Message }) {
  const { role, content } = message;
  if (typeof content === "object" && content !== null && !Array.isArray(content))
    return <JsonTree value={content as Json} />;
  return (
    <>
      {partsOf(content).map((part, place) => {
        if (part.kind === "image")
          return (
            <img
              key={place}
              class="turn-image"
              src={part.address}
              alt={`Image: ${oneLine(part.about, 120)}`}
              loading="lazy"
            />
          );
        if (part.kind === "file") {
          return (
            <p key={place} class="dim">
              File: <Isolated text={oneLine(part.about, 160)} />
            </p>
          );
        }
        return role === "assistant" && part.text.length < 100_000 ? (
          <MarkdownText key={place} text={part.text} />
        ) : (
          <LongText key={place} text={part.text} />
        );
      })}
    </>
  );
}

/** The field for a message: folded in a run that has received none, whose kit may have no conversation. */
function Reply({ view, isChat, about }: { view: ViewProps; isChat: boolean; about: string | null }) {
  if (isChat) return <Composer view={view} about={about} />;
  return (
    <details class="details">
      <summary>Send a message to the run</summary>
      <Composer view={view} about={about} />
    </details>
  );
}

/** A message to the run; the process that works on it records the message. */
function Composer({ view, about }: { view: ViewProps; about: string | null }) {
  const { source, run, status } = view;
  const id = useId();
  const acting = useActing();
  const [text, setText] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  const key = useRef(newKey());
  const send = () =>
    acting.act(async () => {
      if (!text.trim()) return;
      // A second try after a lost answer has the same key, so the message is recorded once.
      await source.say(run, text, about, key.current);
      key.current = newKey();
      setText("");
      view.announce("The message is sent.");
      field.current?.focus();
    });
  useEffect(() => {
    acting.error && field.current?.focus();
  }, [acting.error]);
  if (status.state === "cancelled") return null;
  return (
    <form
      class="card composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <label class="field-label" for={id}>
        Message to the run
      </label>
      <textarea
        id={id}
        ref={field}
        rows={3}
        dir="auto"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
          event.preventDefault();
          void send();
        }}
      />
      <ActionFoot
        command={kando("send", run, "--text", text || "TEXT", ...(about === null ? [] : ["--about", about]))}
        acting={acting}
      >
        <button type="submit" class="button primary" disabled={acting.isBusy || !text.trim()}>
          Send
        </button>
        <span class="dim">Ctrl and Enter send it.</span>
      </ActionFoot>
    </form>
  );
}

function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (each) =>
    each.toString(16).padStart(2, "0"),
  ).join("");
}

register({
  id: "conversation",
  title: "Conversation",
  order: 35,
  isShown: (status) => status.llm_requests > 0,
  Component: ConversationView,
});
