/** The events of a run in columns: 100,000 of them in a few megabytes, without their data. */

import { readSummary } from "./summary";
import type { LedgerEvent } from "./shapes";
import type { Source } from "./source";

/** Number of events of a chunk, which is loaded as one page. */
export const CHUNK = 1000;

/** How many events are loaded before anything is drawn. */
const FIRST = 200;

/** How many characters of an answer that is not recorded yet are kept. */
const LONGEST_STREAMED = 20_000;

/** How many chunks keep the data of their events, and how many characters of data at most. */
const KEPT_CHUNKS = 12;
const KEPT_CHARACTERS = 24_000_000;

/** Types of events that answer the event that is their first cause. */
const ANSWERS = new Set(["llm.response", "tool.returned", "person.replied", "run.ended"]);

/** Types of events that wait for an answer. */
export const REQUESTS = new Set(["llm.request", "tool.called", "person.asked", "run.requested"]);

interface Chunk {
  type: Uint16Array;
  actor: Uint16Array;
  /** Milliseconds since 1970. */
  time: Float64Array;
  /** Position of the first cause, or -1. */
  cause: Int32Array;
  summary: (string | null)[];
  loaded: number;
}

/** Numbers for names, in the order in which they appear. */
class Names {
  readonly all: string[] = [];
  private readonly numbers = new Map<string, number>();

  number(name: string): number {
    let found = this.numbers.get(name);
    if (found === undefined) {
      found = this.all.length;
      this.all.push(name);
      this.numbers.set(name, found);
    }
    return found;
  }
}

export class EventIndex {
  /** Number of events of the run that are known, loaded or not. */
  length = 0;
  readonly types = new Names();
  readonly actors = new Names();
  /** Changes with each change of the index. */
  version = 0;

  /** Texts of answers that are not recorded yet, by the id of the request. */
  readonly streamed = new Map<string, string>();

  private readonly chunks = new Map<number, Chunk>();
  private readonly kept = new Map<number, { events: LedgerEvent[]; characters: number }>();
  private readonly pending = new Map<number, Promise<void>>();
  /** Ids that do not end in their position, and what was loaded of these. */
  private readonly oddIds = new Map<number, string>();
  private readonly oddPositions = new Map<string, number>();
  /** Positions of answers by the position of the request. */
  private readonly answers = new Map<number, number>();
  private readonly listeners = new Set<() => void>();
  private prefix = 0;

  constructor(
    readonly source: Source,
    readonly run: string,
  ) {}

  /** Number of events from the first one on that are loaded without a gap. */
  get loadedPrefix(): number {
    return this.prefix;
  }

  isLoaded(position: number): boolean {
    const chunk = this.chunks.get(Math.floor(position / CHUNK));
    return chunk !== undefined && position % CHUNK < chunk.loaded;
  }

  type(position: number): string {
    return this.types.all[this.typeNumber(position)] ?? "";
  }

  actor(position: number): string {
    return this.actors.all[this.actorNumber(position)] ?? "";
  }

  typeNumber(position: number): number {
    return this.chunkOf(position)?.type[position % CHUNK] ?? 0;
  }

  actorNumber(position: number): number {
    return this.chunkOf(position)?.actor[position % CHUNK] ?? 0;
  }

  time(position: number): number {
    return this.chunkOf(position)?.time[position % CHUNK] ?? 0;
  }

  /** Position of the first cause, or -1. */
  cause(position: number): number {
    return this.chunkOf(position)?.cause[position % CHUNK] ?? -1;
  }

  /** Position of the answer to a request, or -1. */
  answer(position: number): number {
    return this.answers.get(position) ?? -1;
  }

  /** A short text that says what the event holds. */
  summary(position: number): string {
    return this.chunkOf(position)?.summary[position % CHUNK] ?? "";
  }

  id(position: number): string {
    return this.oddIds.get(position) ?? `${this.type(position)}-${position}`;
  }

  /** Return the position of an event by its id, as far as it is loaded; or -1. */
  positionOf(id: string): number {
    const odd = this.oddPositions.get(id);
    if (odd !== undefined) return odd;
    const found = positionIn(id);
    return found >= 0 && this.isLoaded(found) && this.id(found) === id ? found : -1;
  }

  /** Return an event with its data. */
  async event(position: number): Promise<LedgerEvent | null> {
    if (position < 0 || position >= this.length) return null;
    const kept = this.kept.get(Math.floor(position / CHUNK))?.events[position % CHUNK];
    if (kept) return kept;
    // Reading one event costs less than a chunk of long ones.
    if (this.isLoaded(position)) return this.source.event(this.run, this.id(position));
    await this.ensure(position, position + 1);
    return this.isLoaded(position) ? this.source.event(this.run, this.id(position)) : null;
  }

  /** Return an event by its id, even if it is not loaded yet. */
  async find(id: string): Promise<LedgerEvent> {
    const position = this.positionOf(id);
    const found = position >= 0 ? await this.event(position) : null;
    return found ?? this.source.event(this.run, id);
  }

  /** Load the events from `from` to `to` (excluded) that are not loaded yet. */
  async ensure(from: number, to: number): Promise<void> {
    const last = Math.min(to, this.length) - 1;
    const work: Promise<void>[] = [];
    for (let n = Math.floor(Math.max(0, from) / CHUNK); n * CHUNK <= last; n++) {
      if (!this.isWhole(n)) work.push(this.load(n));
    }
    await Promise.all(work);
  }

  /** Load the first events before the length of the run is known. */
  async loadFirst(): Promise<void> {
    const { items } = await this.source.events(this.run, { limit: FIRST });
    for (const event of items) this.put(event);
    this.grow(items.length);
    this.changed();
  }

  /** Load all events, first ones first, and those that arrive meanwhile, until `signal` aborts. */
  async loadAll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.prefix < this.length) {
      const before = this.prefix;
      await this.load(Math.floor(before / CHUNK));
      if (this.prefix === before) return;
      // The page draws and answers keys between two chunks.
      await new Promise((resume) => setTimeout(resume, 0));
    }
  }

  /** Call `visit` with all events with their data, in order, until it returns false. */
  async visitAll(visit: (events: LedgerEvent[]) => boolean): Promise<void> {
    for (let n = 0; n * CHUNK < this.length; n++) {
      if (!visit(this.keptWhole(n) ?? (await this.read(n)))) return;
    }
  }

  /** Say that the run has at least this many events. */
  grow(length: number): void {
    if (length <= this.length) return;
    this.length = length;
    this.changed();
  }

  /** Add an event that has just been recorded. */
  append(event: LedgerEvent): void {
    const number = Math.floor(event.position / CHUNK);
    const offset = event.position % CHUNK;
    this.length = Math.max(this.length, event.position + 1);
    const loaded = this.chunks.get(number)?.loaded ?? 0;
    // An event after a gap is loaded with its chunk, later.
    if (offset === loaded) {
      this.put(event);
      const kept = this.kept.get(number);
      if (kept && kept.events.length === offset) kept.events.push(event);
    }
    this.changed();
  }

  /** Add a piece of an answer that is not recorded yet. */
  stream(request: string, text: string): void {
    const sofar = (this.streamed.get(request) ?? "") + text;
    this.streamed.set(request, sofar.slice(-LONGEST_STREAMED));
    this.changed();
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private chunkOf(position: number): Chunk | undefined {
    return this.chunks.get(Math.floor(position / CHUNK));
  }

  private isWhole(number: number): boolean {
    const end = Math.min(CHUNK, this.length - number * CHUNK);
    return (this.chunks.get(number)?.loaded ?? 0) >= end;
  }

  private keptWhole(number: number): LedgerEvent[] | null {
    const events = this.kept.get(number)?.events;
    return events && events.length >= Math.min(CHUNK, this.length - number * CHUNK) ? events : null;
  }

  private load(number: number): Promise<void> {
    const running = this.pending.get(number);
    if (running) return running;
    const work = this.loadNow(number).finally(() => this.pending.delete(number));
    this.pending.set(number, work);
    return work;
  }

  private async loadNow(number: number): Promise<void> {
    const events = await this.read(number);
    for (const event of events) this.put(event);
    this.keep(number, events);
    this.changed();
  }

  /** Read the events of a chunk; a server may cut a page of long events short. */
  private async read(number: number): Promise<LedgerEvent[]> {
    const first = number * CHUNK;
    const end = Math.min(first + CHUNK, this.length);
    const events: LedgerEvent[] = [];
    let next = first;
    while (next < end) {
      const range = { limit: end - next, ...(next > 0 ? { after: next - 1 } : {}) };
      const page = await this.source.events(this.run, range);
      const wanted = page.items.filter((each) => each.position >= next && each.position < end);
      const last = wanted.at(-1);
      if (!last) break;
      events.push(...wanted);
      next = last.position + 1;
    }
    return events;
  }

  private keep(number: number, events: LedgerEvent[]): void {
    let characters = 0;
    for (const event of events) characters += weigh(event.data, 0);
    this.kept.delete(number);
    this.kept.set(number, { events, characters });
    let sum = 0;
    for (const each of this.kept.values()) sum += each.characters;
    for (const [oldest, each] of this.kept) {
      if (oldest === number) break;
      if (this.kept.size <= KEPT_CHUNKS && sum <= KEPT_CHARACTERS) break;
      this.kept.delete(oldest);
      sum -= each.characters;
    }
  }

  private put(event: LedgerEvent): void {
    const { position } = event;
    const number = Math.floor(position / CHUNK);
    const offset = position % CHUNK;
    let chunk = this.chunks.get(number);
    if (!chunk) {
      chunk = newChunk();
      this.chunks.set(number, chunk);
    }
    if (event.id !== `${event.type}-${position}`) {
      this.oddIds.set(position, event.id);
      this.oddPositions.set(event.id, position);
    }
    const first = event.cause[0];
    const cause = first === undefined ? -1 : (this.oddPositions.get(first) ?? positionIn(first));
    chunk.type[offset] = this.types.number(event.type);
    chunk.actor[offset] = this.actors.number(event.actor);
    chunk.time[offset] = Date.parse(event.timestamp);
    chunk.cause[offset] = cause;
    chunk.summary[offset] = readSummary(event);
    chunk.loaded = Math.max(chunk.loaded, offset + 1);
    if (cause >= 0 && ANSWERS.has(event.type)) this.answers.set(cause, position);
    if (first !== undefined && ANSWERS.has(event.type)) this.streamed.delete(first);
    while (this.isLoaded(this.prefix)) {
      const whole = this.chunks.get(Math.floor(this.prefix / CHUNK));
      this.prefix = Math.floor(this.prefix / CHUNK) * CHUNK + (whole?.loaded ?? CHUNK);
    }
  }

  private changed(): void {
    this.version++;
    for (const each of [...this.listeners]) each();
  }
}

function newChunk(): Chunk {
  return {
    type: new Uint16Array(CHUNK),
    actor: new Uint16Array(CHUNK),
    time: new Float64Array(CHUNK),
    cause: new Int32Array(CHUNK).fill(-1),
    summary: [],
    loaded: 0,
  };
}

/** Return the position at the end of an id that the runtime made, or -1. */
function positionIn(id: string): number {
  const found = /-(\d{1,9})$/.exec(id);
  return found ? Number(found[1]) : -1;
}

/** Return roughly how many characters a value holds. */
function weigh(value: unknown, depth: number): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null || depth > 6) return 8;
  let sum = 16;
  for (const each of Object.values(value)) sum += weigh(each, depth + 1);
  return sum;
}
