/** One workspace's log on segment files: appends, group commit, look-ups and reads. What it was when opened: `recover.ts`. */
import { HeadwaterError } from "../../src/errors.ts"
import {
  type Actor,
  type Cursor,
  cursorOf,
  decodeEntry,
  type Entry,
  encodeEntry,
  type Hash,
  position as positionOf,
} from "../../src/protocol.ts"
import type { AppendedChange, EntityState, Known, Log, Page, Tail } from "../log.ts"
import { Damage, type Folder, indexPath } from "./folder.ts"
import { entityKey, type Key, Output, record } from "./format.ts"
import { stateOf } from "./heads.ts"
import type { History } from "./history.ts"
import { OpenSegment } from "./open-segment.ts"
import { type Recovered, recover, sealOnTop } from "./recover.ts"
import type { Sealed } from "./sealed.ts"

/** Bytes that are read at once. */
const WINDOW = 2 ** 18
/** Entities of the sealed segments whose state is remembered: a push asks for it, and appends a moment later. */
const RECENT = 1024
/** Entries after which a seal that has failed is tried again. */
const PATIENCE = 1000

/** Records that are written together. */
interface Batch {
  readonly segment: OpenSegment
  readonly out: Output
  records: number
  /** The position of the last of them. */
  last: number
  /** They are being written: others belong into the next batch. */
  flying: boolean
  readonly done: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class FileLog implements Log {
  readonly #folder: Folder
  readonly #giveBack: () => void
  #history: History
  /** Full, and not sealed yet: behind the history and before the active one. */
  #closing: OpenSegment | undefined
  #active: OpenSegment
  #end: Cursor
  /** The highest position that was ever given to an entry. */
  #given: number
  #appended: number
  #batches: Batch[] = []
  #flushing: Promise<void> | undefined
  #sealing: Promise<void> | undefined
  #sealAfter = 0
  /** The oldest segment that is known to be damaged, and the work on it. */
  #damaged: number | undefined
  #mending: Promise<void> | undefined
  #recent = new Map<string, EntityState | null>()
  /** Counts up when the history has changed, and with it what may be remembered of it. */
  #generation = 0
  #lastEntity = ""
  #lastKey: Key = entityKey("")
  #closed = false
  readonly #flushListeners = new Set<() => void>()
  readonly #breakListeners = new Set<() => void>()

  static async open(folder: Folder, giveBack: () => void): Promise<FileLog> {
    try {
      return new FileLog(folder, await recover(folder), giveBack)
    } catch (error) {
      throw failed(`the log of workspace ${folder.workspace} cannot be opened`, error)
    }
  }

  private constructor(folder: Folder, { history, active }: Recovered, giveBack: () => void) {
    this.#folder = folder
    this.#giveBack = giveBack
    this.#history = history
    this.#active = active
    this.#end = cursorOf(active.last, active.running)
    this.#given = this.#appended = active.last
  }

  // ── places ────────────────────────────────────────────────────────────────────────────────────────────────────────

  get end(): Cursor {
    return this.#end
  }

  get appended(): number {
    return this.#appended
  }

  bytesAfter(position: number): number {
    let bytes = 0
    for (const segment of this.#segments()) {
      if (segment.last > position) bytes += segment.bytesAfter(position)
    }
    return Math.round(bytes)
  }

  async holds(cursor: Cursor): Promise<boolean> {
    const position = positionOf(cursor)
    if (position === 0) return true
    return this.#whole(async () => {
      const begun = this.#segments().findLast((segment) => segment.origin.fresh)?.origin.base ?? 0
      if (position < begun || position > positionOf(this.#end)) return false
      const place = await this.#place(position)
      return place !== undefined && Buffer.compare(place, cursor) === 0
    })
  }

  /** Undefined where no entry ends: its position was given to one that is lost. */
  async #place(position: number): Promise<Cursor | undefined> {
    if (position === positionOf(this.#end)) return this.#end
    for (const segment of this.#segments().reverse()) {
      if (position === segment.origin.base) return cursorOf(position, segment.origin.start)
      if (position < segment.origin.base || position > segment.last) continue
      const running = await segment.runningAt(position)
      return running && cursorOf(position, running)
    }
    return undefined
  }

  /** Those that have something flushed, or will have, oldest first. */
  #segments(): (Sealed | OpenSegment)[] {
    return [...this.#history.segments, ...(this.#closing ? [this.#closing] : []), this.#active]
  }

  // ── look-ups ──────────────────────────────────────────────────────────────────────────────────────────────────────

  entity(entity: string): EntityState | undefined | Promise<EntityState | undefined> {
    if (this.#damaged !== undefined) return this.#mend().then(() => this.entity(entity))
    const key = this.#key(entity)
    const state = this.#stateAtHand(key, this.#layers())
    return state === undefined ? this.#whole(() => this.#readState(key)) : (state ?? undefined)
  }

  known(entity: string, hash: Hash): Known | undefined | Promise<Known | undefined> {
    if (this.#damaged !== undefined) return this.#mend().then(() => this.known(entity, hash))
    const key = this.#key(entity)
    for (const { heads } of this.#layers()) {
      const known = heads.known(key, hash)
      if (known) return known
    }
    return this.#isNew(key) ? undefined : this.#whole(() => this.#history.known(key, hash))
  }

  tail(entity: string, actor: Actor): Tail | undefined | Promise<Tail | undefined> {
    if (this.#damaged !== undefined) return this.#mend().then(() => this.tail(entity, actor))
    const key = this.#key(entity)
    for (const { heads } of this.#layers()) {
      const tail = heads.tail(key, actor)
      if (tail) return tail
    }
    return this.#isNew(key) ? undefined : this.#whole(() => this.#history.tail(key, actor))
  }

  binding(actor: Actor): string | undefined | Promise<string | undefined> {
    if (this.#damaged !== undefined) return this.#mend().then(() => this.binding(actor))
    for (const { heads } of this.#layers()) {
      const principal = heads.binding(actor)
      if (principal !== undefined) return principal
    }
    return this.#history.newest ? this.#whole(() => this.#history.binding(actor)) : undefined
  }

  /** What is in memory, newest first. */
  #layers(): OpenSegment[] {
    return this.#closing ? [this.#active, this.#closing] : [this.#active]
  }

  /** Null: there is none. Undefined: the sealed segments must be asked. */
  #stateAtHand(key: Key, [newest, ...older]: readonly OpenSegment[]): EntityState | null | undefined {
    if (!newest) return this.#history.newest ? this.#recent.get(key.toString("latin1")) : null
    const touched = newest.heads.touched(key)
    if (!touched) return this.#stateAtHand(key, older)
    if (touched.before === undefined) touched.before = this.#stateAtHand(key, older)
    return touched.before === undefined ? undefined : stateOf(touched, touched.before)
  }

  async #readState(key: Key): Promise<EntityState | undefined> {
    for (;;) {
      const generation = this.#generation
      const state = (await this.#history.state(key)) ?? null
      if (generation !== this.#generation) continue
      if (this.#recent.size >= RECENT) this.#recent.delete(this.#recent.keys().next().value!)
      this.#recent.set(key.toString("latin1"), state)
      return this.#stateAtHand(key, this.#layers()) ?? undefined
    }
  }

  /** Whether the sealed segments surely have nothing of this entity. */
  #isNew(key: Key): boolean {
    if (!this.#history.newest || this.#recent.get(key.toString("latin1")) === null) return true
    return this.#layers().some(({ heads }) => heads.touched(key)?.before === null)
  }

  #key(entity: string): Key {
    if (entity !== this.#lastEntity) {
      this.#lastEntity = entity
      this.#lastKey = entityKey(entity)
    }
    return this.#lastKey
  }

  // ── appends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  append(entry: Entry, changes: readonly AppendedChange[], bytes: Uint8Array = encodeEntry(entry)): number {
    if (this.#closed) throw closed(this.#folder)
    if (this.#damaged !== undefined) throw failed(`the log of workspace ${this.#folder.workspace} is being mended`)
    if (this.#active.full && !this.#closing) this.#rotate()
    const segment = this.#active
    const key = this.#key(entry.entity)
    const batch = this.#batchFor(segment)
    const position = ++this.#given
    segment.append(batch.out, position, key, entry, changes, bytes, () => {
      return this.#stateAtHand(key, this.#layers().slice(1))
    })
    batch.records++
    batch.last = this.#appended = position
    this.#flushing ??= this.#flush()
    return position
  }

  async flushed(position: number): Promise<Cursor> {
    if (this.#damaged !== undefined) await this.#mend()
    const pending = this.#batches.find(({ last }) => last >= position && position > positionOf(this.#end))
    await pending?.done
    // It was appended before the log was closed, and is told so afterwards.
    const place = await (pending ? this.#place(position) : this.#whole(() => this.#place(position)))
    if (!place || position > positionOf(this.#end)) throw failed(`what was appended to position ${position} is lost`)
    return place
  }

  onFlush(f: () => void): () => void {
    this.#flushListeners.add(f)
    return () => this.#flushListeners.delete(f)
  }

  onBreak(f: () => void): () => void {
    this.#breakListeners.add(f)
    return () => this.#breakListeners.delete(f)
  }

  #batchFor(segment: OpenSegment): Batch {
    const last = this.#batches.at(-1)
    if (last?.segment === segment && !last.flying) return last
    let settle = {} as Pick<Batch, "resolve" | "reject">
    const done = new Promise<void>((resolve, reject) => {
      settle = { resolve, reject }
    })
    // Whoever waits for it is told; nobody has to.
    done.catch(() => {})
    const batch = { segment, out: new Output(2 ** 12), records: 0, last: 0, flying: false, done, ...settle }
    this.#batches.push(batch)
    return batch
  }

  #rotate(): void {
    const { origin, appended, appendedRunning } = this.#active
    this.#closing = this.#active
    this.#active = new OpenSegment(this.#folder, {
      number: origin.number + 1,
      base: appended,
      start: Buffer.from(appendedRunning),
      fresh: false,
      marks: origin.marks,
    })
  }

  /** One batch after the other; what is appended in the same turn or during a flush goes together. */
  async #flush(): Promise<void> {
    await null
    for (let batch = this.#batches[0]; batch; batch = this.#batches[0]) {
      const { segment } = batch
      try {
        await segment.prepare()
        batch.flying = true
        await segment.write(batch.out.taken, batch.records)
      } catch (error) {
        this.#lose(error)
        continue
      }
      this.#batches.shift()
      this.#end = cursorOf(segment.last, segment.running)
      batch.resolve()
      await batch.done
      this.#tell(this.#flushListeners)
      if (this.#closing && this.#batches[0]?.segment !== this.#closing) this.#seal(this.#closing)
    }
    this.#flushing = undefined
  }

  /** A flush has failed, and with it all that rests on it: nothing of it was ever there. */
  #lose(cause: unknown): void {
    const lost = this.#batches.splice(0)
    if (this.#closing && this.#closing === lost[0]?.segment) {
      this.#active = this.#closing
      this.#closing = undefined
    }
    this.#active.rollBack()
    this.#appended = positionOf(this.#end)
    const error = failed(`the log of workspace ${this.#folder.workspace} cannot be written`, cause)
    this.#folder.report({ event: "log.failed", entries: lost.reduce((sum, { records }) => sum + records, 0), error })
    for (const batch of lost) batch.reject(error)
  }

  #tell(listeners: ReadonlySet<() => void>): void {
    for (const listener of [...listeners]) {
      try {
        listener()
      } catch (error) {
        this.#folder.report({ event: "log.listener", error })
      }
    }
  }

  /** While appends go on behind it. If that fails the segment stays in memory, and the next one grows. */
  #seal(segment: OpenSegment): void {
    if (this.#sealing || this.#active.heads.count < this.#sealAfter) return
    this.#sealing = sealOnTop(this.#folder, this.#history, segment, 0)
      .then(
        () => {
          this.#closing = undefined
          this.#sealAfter = 0
          this.#recent.clear()
          this.#generation++
          return segment.close()
        },
        (error) => {
          this.#sealAfter = this.#active.heads.count + PATIENCE
          this.#folder.report({ event: "log.unsealed", segment: segment.origin.number, error })
          if (error instanceof Damage) this.#note(error)
        },
      )
      .catch(() => {})
      .finally(() => {
        this.#sealing = undefined
      })
  }

  // ── reads ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  since(position: number, bytes: number): Promise<Page> {
    return this.#whole(() => this.#page(position, bytes))
  }

  async #page(position: number, bytes: number): Promise<Page> {
    const entries: PageEntry[] = []
    let room = bytes
    for (const segment of this.#segments()) {
      let at = position
      while (at < segment.last) {
        const { offsets, end } = await segment.after(at)
        if (offsets.length === 0) break
        for (let i = 0; i < offsets.length; ) {
          const window = await this.#window(segment, offsets, i, end, room)
          for (; i < window.to; i++) {
            const entry = readRecord(segment, window.bytes, offsets[i]! - window.from)
            if (entries.length > 0 && entry.bytes.length > room) return { entries, cursor: this.#behind(entries) }
            entries.push(entry)
            room -= entry.bytes.length
            at = entry.position
          }
        }
      }
    }
    return { entries, cursor: entries.length > 0 ? this.#behind(entries) : this.#end }
  }

  /** Records from the `i`-th on: as many as there is room for, but not too many at once. */
  async #window(segment: Sealed | OpenSegment, offsets: readonly number[], i: number, end: number, room: number) {
    const from = offsets[i]!
    const most = from + Math.min(WINDOW, 2 * room + 1024)
    let to = i + 1
    while (to < offsets.length && (offsets[to + 1] ?? end) <= most) to++
    const bytes = await this.#folder.cache.read(segment.path, from, (offsets[to] ?? end) - from)
    return { from, to, bytes }
  }

  /** The place behind the last of these: where the next segment begins, if it ends one. */
  #behind(entries: readonly PageEntry[]): Cursor {
    const { position, running } = entries.at(-1)!
    if (position === positionOf(this.#end)) return this.#end
    const segments = this.#segments()
    const next = segments.findIndex(({ origin }) => origin.base >= position)
    if (next > 0 && segments[next - 1]!.last === position) {
      return cursorOf(segments[next]!.origin.base, segments[next]!.origin.start)
    }
    return cursorOf(position, running)
  }

  // ── damage ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Reads, and again when damage comes to light, after it has been mended. */
  async #whole<T>(read: () => Promise<T>): Promise<T> {
    for (let attempts = 3; ; attempts--) {
      if (this.#damaged !== undefined) await this.#mend()
      if (this.#closed) throw closed(this.#folder)
      const generation = this.#generation
      try {
        return await read()
      } catch (error) {
        if (error instanceof Damage) this.#note(error)
        const again = this.#damaged !== undefined || generation !== this.#generation
        if (attempts === 0 || !again)
          throw failed(`the log of workspace ${this.#folder.workspace} cannot be read`, error)
      }
    }
  }

  #note(damage: Damage): void {
    if (this.#damaged === undefined) this.#folder.report({ event: "log.damage", message: damage.message })
    this.#damaged = Math.min(damage.segment, this.#damaged ?? damage.segment)
  }

  /** One at a time; whoever comes while it is damaged tries again. */
  #mend(): Promise<void> {
    this.#mending ??= this.#reopen().finally(() => {
      this.#mending = undefined
    })
    return this.#mending
  }

  /** Opens the log again from the disk. The damaged segment's index claims what may be lost, so it goes first. */
  async #reopen(): Promise<void> {
    await this.#flushing
    await this.#sealing
    const { disk, cache, path } = this.#folder
    try {
      const index = indexPath(this.#folder, this.#damaged!)
      if ((await disk.list(path)).some((name) => index.endsWith(`/${name}`))) {
        await disk.remove(index)
        await disk.syncFolder(path)
      }
      for (const { origin, path } of this.#segments()) {
        cache.forget(path)
        cache.forget(indexPath(this.#folder, origin.number))
      }
      await this.#active.close()
      await this.#closing?.close()
      const recovered = await recover(this.#folder, { end: positionOf(this.#end), next: this.#given })
      this.#history = recovered.history
      this.#active = recovered.active
      this.#closing = undefined
      this.#end = cursorOf(this.#active.last, this.#active.running)
      this.#given = Math.max(this.#given, this.#active.last)
      this.#appended = this.#active.last
      this.#recent.clear()
      this.#generation++
      this.#damaged = undefined
      if (recovered.broken) this.#tell(this.#breakListeners)
    } catch (error) {
      throw failed(`the log of workspace ${this.#folder.workspace} is damaged and cannot be mended`, error)
    }
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async close(): Promise<void> {
    this.#giveBack()
  }

  /** Flushes, and lets go of all that is open. */
  async shut(): Promise<void> {
    this.#closed = true
    await this.#mending?.catch(() => {})
    await this.#flushing
    await this.#sealing
    await this.#active.close()
    await this.#closing?.close()
    for (const { origin, path } of this.#segments()) {
      this.#folder.cache.forget(path)
      this.#folder.cache.forget(indexPath(this.#folder, origin.number))
    }
  }
}

/** An entry as it lies in the log. */
class PageEntry {
  readonly position: number
  readonly bytes: Uint8Array
  readonly running: Buffer
  #entry: Entry | undefined

  constructor(position: number, running: Buffer, body: Buffer) {
    this.position = position
    this.running = running
    this.bytes = new Uint8Array(body.buffer, body.byteOffset, body.length)
  }

  get entry(): Entry {
    this.#entry ??= decodeEntry(this.bytes)
    return this.#entry
  }
}

function readRecord({ origin }: Sealed | OpenSegment, bytes: Buffer, at: number): PageEntry {
  const { marks, number } = origin
  if (record.check(bytes, at, marks) !== true || bytes.length - at < record.length(bytes, at)) {
    throw new Damage(number, `the record at byte ${at} of what was read is damaged`)
  }
  if (!record.whole(bytes, at, marks)) throw new Damage(number, "an entry is damaged")
  return new PageEntry(record.position(bytes, at), record.running(bytes, at), record.body(bytes, at))
}

const failed = (what: string, cause?: unknown) =>
  cause instanceof HeadwaterError ? cause : new HeadwaterError("LOG_FAILED", what, { cause })

const closed = ({ workspace }: Folder) => new HeadwaterError("CLOSED", `the log of workspace ${workspace} is closed`)
