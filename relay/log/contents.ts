/** All segments of a log that is open: which there are, what look-ups find in them, and where places are. */
import { type Actor, type Cursor, cursorOf, type Hash, position as positionOf } from "../../src/wire/protocol.ts"
import type { Awaitable, EntityState, Known, Tail } from "./contract.ts"
import type { Folder } from "./folder.ts"
import type { History } from "./sealed-segments.ts"
import { entityKey, type Key, keyName } from "./segment/format.ts"
import { OpenSegment } from "./segment/open-segment.ts"
import type { Sealed } from "./segment/sealed-segment.ts"

/** Entities of which is remembered what was looked up: a push asks several times, and appends a moment later. */
const RECENT = 1024

/** An entity's key, and the same as a name for maps. */
export interface Id {
  readonly key: Key
  readonly name: string
}

export type Segment = Sealed | OpenSegment

export class Contents {
  readonly history: History
  /** Full, and not sealed yet: behind the history and before the active one. */
  closing: OpenSegment | undefined
  active: OpenSegment
  /** The place after the last flushed entry. */
  end: Cursor
  readonly #recent = new Map<string, EntityState | null>()
  readonly #ids = new Map<string, Id>()

  constructor(history: History, active: OpenSegment) {
    this.history = history
    this.active = active
    this.end = cursorOf(active.last, active.running)
  }

  /** Oldest first. */
  get segments(): Segment[] {
    return [...this.history.segments, ...(this.closing ? [this.closing] : []), this.active]
  }

  *#newestFirst(): Generator<Segment> {
    yield* this.#layers
    for (let i = this.history.segments.length - 1; i >= 0; i--) yield this.history.segments[i]!
  }

  /** What is in memory, newest first. */
  get #layers(): OpenSegment[] {
    return this.closing ? [this.active, this.closing] : [this.active]
  }

  // ── the order of segments ─────────────────────────────────────────────────────────────────────────────────────────

  /** The active segment takes nothing more, and the next one begins. */
  rotate(folder: Folder): void {
    const { origin, appended, appendedRunning } = this.active
    this.closing = this.active
    const next = {
      number: origin.number + 1,
      after: origin.number,
      base: appended,
      start: Buffer.from(appendedRunning),
      fresh: false,
      marks: origin.marks,
    }
    this.active = new OpenSegment(folder, next, this.history.actors)
  }

  /** Forgets what is not flushed. `first`: the segment that the first of it was meant for. */
  rollBack(first: OpenSegment): void {
    if (first === this.closing) {
      this.active = this.closing
      this.closing = undefined
    }
    this.active.rollBack()
  }

  /** Records were lost: the segments behind are sealed with that fact. */
  get harmed(): boolean {
    return this.history.newest?.lost === true
  }

  /** The closing segment is part of the history now, and from one moment to the next. */
  sealed(segment: Sealed): void {
    this.history.segments.push(segment)
    this.closing = undefined
    this.#recent.clear()
  }

  // ── look-ups ──────────────────────────────────────────────────────────────────────────────────────────────────────

  entity(entity: string): Awaitable<EntityState | undefined> {
    const id = this.id(entity)
    const state = this.#atHand(id, this.#layers)
    return state === undefined ? this.#read(id) : (state ?? undefined)
  }

  known(entity: string, hash: Hash): Awaitable<Known | undefined> {
    const id = this.id(entity)
    for (const { records } of this.#layers) {
      const known = records.known(id.key, hash)
      if (known) return known
    }
    return this.#isNew(id) ? undefined : this.history.known(id.key, hash)
  }

  tail(entity: string, actor: Actor): Awaitable<Tail | undefined> {
    const id = this.id(entity)
    for (const { records } of this.#layers) {
      const tail = records.tail(id.key, actor)
      if (tail) return tail
    }
    return this.#isNew(id) ? undefined : this.history.tail(id.key, actor)
  }

  binding(actor: Actor): Awaitable<string | undefined> {
    for (const { records } of this.#layers) {
      const principal = records.binding(actor)
      if (principal !== undefined) return principal
    }
    return this.history.newest ? this.history.binding(actor) : undefined
  }

  /** How the entity was before the active segment. Null: not at all. Undefined: the sealed segments must be asked. */
  before(id: Id): EntityState | null | undefined {
    return this.#atHand(id, this.closing ? [this.closing] : [])
  }

  /** Asked for several times for each push, and hashing takes its time. */
  id(entity: string): Id {
    let id = this.#ids.get(entity)
    if (!id) {
      if (this.#ids.size >= RECENT) this.#ids.clear()
      const key = entityKey(entity)
      this.#ids.set(entity, (id = { key, name: keyName(key) }))
    }
    return id
  }

  #atHand(id: Id, [newest, ...older]: readonly OpenSegment[]): EntityState | null | undefined {
    if (!newest) return this.history.newest ? this.#recent.get(id.name) : null
    const { records } = newest
    const e = records.entity(id.key)
    if (e === undefined) return this.#atHand(id, older)
    if (records.before(e) === undefined) {
      const before = this.#atHand(id, older)
      if (before !== undefined) records.setBefore(e, before)
    }
    return records.state(e)
  }

  async #read(id: Id): Promise<EntityState | undefined> {
    for (;;) {
      const { newest } = this.history
      const state = (await this.history.state(id.key)) ?? null
      if (newest !== this.history.newest) continue
      if (this.#recent.size >= RECENT) this.#recent.delete(this.#recent.keys().next().value!)
      this.#recent.set(id.name, state)
      return this.#atHand(id, this.#layers) ?? undefined
    }
  }

  /** Whether the sealed segments surely have nothing of this entity. */
  #isNew({ key, name }: Id): boolean {
    if (!this.history.newest || this.#recent.get(name) === null) return true
    for (const { records } of this.#layers) {
      const e = records.entity(key)
      if (e !== undefined && records.before(e) === null) return true
    }
    return false
  }

  // ── places ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The place where the entry with this position ends; undefined where none does: it was lost. */
  place(position: number): Awaitable<Cursor | undefined> {
    if (position === positionOf(this.end)) return this.end
    for (const segment of this.#newestFirst()) {
      if (position === segment.origin.base) return cursorOf(position, segment.origin.start)
      if (position < segment.origin.base || position > segment.last) continue
      const running = segment.runningAt(position)
      if (running instanceof Promise) return running.then((read) => read && cursorOf(position, read))
      return running && cursorOf(position, running)
    }
    return undefined
  }

  async holds(cursor: Cursor): Promise<boolean> {
    const position = positionOf(cursor)
    if (position > positionOf(this.end)) return false
    for (const { origin } of this.#newestFirst()) {
      if (position >= origin.base) break
      if (origin.fresh) return false
    }
    const place = await this.place(position)
    return place !== undefined && Buffer.compare(place, cursor) === 0
  }

  /** The place behind an entry: where the next segment begins, if it ends one. */
  behind(position: number, running: Uint8Array): Cursor {
    if (position === positionOf(this.end)) return this.end
    let next: Segment | undefined
    for (const segment of this.#newestFirst()) {
      // One that begins behind what is flushed is no place yet, and those before it only look empty.
      if (segment.origin.base > positionOf(this.end)) continue
      if (segment.last === position && next) return cursorOf(next.origin.base, next.origin.start)
      if (segment.origin.base < position) break
      // An empty one is passed over: what is behind it may have a running hash of its own, and the empty one's is nobody's any more.
      if (!next || segment.last > segment.origin.base) next = segment
    }
    return cursorOf(position, running)
  }
}
