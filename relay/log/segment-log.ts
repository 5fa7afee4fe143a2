/** One workspace's log on segment files: appends, group commit, and what to do when the disk lets it down. */
import { HeadwaterError } from "../../src/base/errors.ts"
import {
  type Actor,
  type Cursor,
  cursorOf,
  type Entry,
  encodeEntry,
  type Hash,
  position as positionOf,
} from "../../src/wire/protocol.ts"
import { Contents } from "./contents.ts"
import type { AppendedChange, Awaitable, EntityState, Known, Log, Page, Tail } from "./contract.ts"
import { Damage, type Folder, indexPath } from "./folder.ts"
import { readPage } from "./page.ts"
import { recover, sealOnTop } from "./recover.ts"
import { LONGEST_ENTRY, Output } from "./segment/format.ts"
import type { OpenSegment } from "./segment/open-segment.ts"

/** Bytes that a batch has room for at first, and that are kept for the next one at the most. */
const ROOM = 2 ** 13
const SPARE = 2 ** 16
/** Entries after which a seal that has failed is tried again. */
const PATIENCE = 1000
/** How often a read is tried again after damage that it has met was mended. */
const ATTEMPTS = 3

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
  #contents: Contents
  /** The highest position that was ever given to an entry. */
  #given: number
  #appended: number
  #batches: Batch[] = []
  /** Of the batch before: the next one is written into the same memory, when that is not too much to keep. */
  #spare: Output | undefined
  #flushing: Promise<void> | undefined
  #sealing: Promise<void> | undefined
  #sealAfter = 0
  /** In the oldest segment that is known to be damaged; and the work on it. */
  #damage: Damage | undefined
  #mending: Promise<void> | undefined
  #closed = false
  readonly #flushListeners = new Set<() => void>()
  readonly #breakListeners = new Set<() => void>()

  static async open(folder: Folder, giveBack: () => void): Promise<FileLog> {
    try {
      const { history, active } = await recover(folder)
      return new FileLog(folder, new Contents(history, active), giveBack)
    } catch (error) {
      throw failed(`the log of workspace ${folder.workspace} cannot be opened`, error)
    }
  }

  private constructor(folder: Folder, contents: Contents, giveBack: () => void) {
    this.#folder = folder
    this.#giveBack = giveBack
    this.#contents = contents
    this.#given = this.#appended = contents.active.last
  }

  get end(): Cursor {
    return this.#contents.end
  }

  get appended(): number {
    return this.#appended
  }

  get harmed(): boolean {
    return this.#contents.harmed
  }

  /** Bytes that it keeps in memory, about. */
  get memory(): number {
    const { active, closing } = this.#contents
    return active.records.memory + (closing?.records.memory ?? 0)
  }

  bytesAfter(position: number): number {
    const behind = this.#contents.segments.filter(({ last }) => last > position)
    return Math.round(behind.reduce((sum, segment) => sum + segment.bytesAfter(position), 0))
  }

  // ── look-ups and reads ────────────────────────────────────────────────────────────────────────────────────────────

  entity(entity: string): Awaitable<EntityState | undefined> {
    return this.#read((contents) => contents.entity(entity))
  }

  known(entity: string, hash: Hash): Awaitable<Known | undefined> {
    return this.#read((contents) => contents.known(entity, hash))
  }

  tail(entity: string, actor: Actor): Awaitable<Tail | undefined> {
    return this.#read((contents) => contents.tail(entity, actor))
  }

  binding(actor: Actor): Awaitable<string | undefined> {
    return this.#read((contents) => contents.binding(actor))
  }

  holds(cursor: Cursor): Awaitable<boolean> {
    return positionOf(cursor) === 0 || this.#read((contents) => contents.holds(cursor))
  }

  key(entity: string): string {
    return this.#contents.id(entity).name
  }

  async since(position: number, bytes: number): Promise<Page> {
    return this.#read((contents) => readPage(contents, this.#folder.cache, position, bytes))
  }

  /** At once where all is in memory. Otherwise it may meet damage, and tries again when that has been mended. */
  #read<T>(read: (contents: Contents) => Awaitable<T>): Awaitable<T> {
    if (this.#closed) throw closed(this.#folder)
    const ready = !this.#damage ? read(this.#contents) : undefined
    return ready instanceof Promise || this.#damage ? this.#readWhole(read, ready) : (ready as T)
  }

  async #readWhole<T>(read: (contents: Contents) => Awaitable<T>, first?: Awaitable<T>): Promise<T> {
    let reading = first
    for (let attempt = 1; ; attempt++) {
      let contents = this.#contents
      try {
        if (this.#damage) await this.#mend()
        contents = this.#contents
        const found = await (reading ?? read(contents))
        // The log was mended meanwhile: what was found may be what is lost.
        if (contents === this.#contents) return found
      } catch (error) {
        if (error instanceof Damage && contents === this.#contents) this.#note(error)
        const hopeful = this.#damage || contents !== this.#contents
        if (attempt === ATTEMPTS || !hopeful || this.#closed) {
          throw failed(`the log of workspace ${this.#folder.workspace} cannot be read`, error)
        }
      }
      reading = undefined
    }
  }

  // ── appends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  append(entry: Entry, changes: readonly AppendedChange[], bytes: Uint8Array = encodeEntry(entry)): number {
    if (this.#closed) throw closed(this.#folder)
    if (this.#damage) throw failed(`the log of workspace ${this.#folder.workspace} is being mended`)
    if (bytes.length > LONGEST_ENTRY) throw new HeadwaterError("TOO_LARGE", `an entry of ${bytes.length} bytes`)
    const contents = this.#contents
    if (contents.active.full && !contents.closing) contents.rotate(this.#folder)
    const id = contents.id(entry.entity)
    const batch = this.#batchFor(contents.active)
    const position = ++this.#given
    contents.active.append(batch.out, position, id.key, entry, changes, bytes, () => contents.before(id))
    batch.records++
    batch.last = this.#appended = position
    this.#flushing ??= this.#flush()
    return position
  }

  async flushed(position: number): Promise<Cursor> {
    if (this.#damage) await this.#mend()
    const pending = this.#batches.find(({ last }) => last >= position && position > positionOf(this.end))
    await pending?.done
    // What was appended before the log was closed is told so afterwards, too.
    const found = pending ? this.#contents.place(position) : this.#read((contents) => contents.place(position))
    const place = found instanceof Promise ? await found : found
    if (!place || position > positionOf(this.end)) throw failed(`what was appended to position ${position} is lost`)
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
    const out = this.#spare ?? new Output(ROOM)
    this.#spare = undefined
    const batch = { segment, out, records: 0, last: 0, flying: false, done, ...settle }
    this.#batches.push(batch)
    return batch
  }

  /** One batch after the other. What has arrived by now is appended first, and during a flush more comes: it goes together. */
  async #flush(): Promise<void> {
    const endOfTurn = () => new Promise<void>((resolve) => void this.#folder.clock.after(0, resolve))
    while (this.#batches.length > 0) {
      await endOfTurn()
      const batch = this.#batches[0]!
      const { segment } = batch
      try {
        // A segment is finished before the next one begins: behind its end there is nothing that a scan could find.
        await this.#contents.closing?.prepare()
        await segment.prepare()
        batch.flying = true
        await segment.write(batch.out.taken, batch.records)
      } catch (error) {
        this.#lose(error)
        continue
      }
      this.#batches.shift()
      batch.out.length = 0
      if (batch.out.bytes.length <= SPARE) this.#spare = batch.out
      this.#contents.end = cursorOf(segment.last, segment.running)
      batch.resolve()
      await batch.done
      this.#tell(this.#flushListeners)
      const { closing } = this.#contents
      if (closing && this.#batches[0]?.segment !== closing) this.#seal(closing)
    }
    this.#flushing = undefined
  }

  /** A flush has failed, and with it all that rests on it: nothing of it was ever there. */
  #lose(cause: unknown): void {
    const lost = this.#batches.splice(0)
    this.#contents.rollBack(lost[0]!.segment)
    this.#appended = positionOf(this.end)
    const error = failed(`the log of workspace ${this.#folder.workspace} cannot be written`, cause)
    this.#folder.report({
      level: "error",
      event: "log.failed",
      entries: lost.reduce((sum, { records }) => sum + records, 0),
      error,
    })
    for (const batch of lost) batch.reject(error)
  }

  #tell(listeners: ReadonlySet<() => void>): void {
    for (const listener of [...listeners]) {
      try {
        listener()
      } catch (error) {
        this.#folder.report({ level: "error", event: "log.listener", error })
      }
    }
  }

  /** While appends go on behind it. If that fails the segment stays in memory, and the next one grows. */
  #seal(segment: OpenSegment): void {
    const contents = this.#contents
    if (this.#sealing || contents.active.records.count < this.#sealAfter) return
    this.#sealing = sealOnTop(this.#folder, contents.history, segment, 0)
      .then(
        (sealed) => {
          contents.sealed(sealed)
          this.#sealAfter = 0
          return segment.close()
        },
        (error) => {
          this.#sealAfter = contents.active.records.count + PATIENCE
          this.#folder.report({ level: "warn", event: "log.unsealed", segment: segment.origin.number, error })
          if (error instanceof Damage) this.#note(error)
        },
      )
      .catch(() => {})
      .finally(() => {
        this.#sealing = undefined
      })
  }

  // ── damage ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #note(damage: Damage): void {
    if (!this.#damage) this.#folder.report({ level: "error", event: "log.damage", message: damage.message })
    if (!this.#damage || damage.segment < this.#damage.segment) this.#damage = damage
  }

  /** One at a time; whoever comes while it is damaged tries again. */
  #mend(): Promise<void> {
    this.#mending ??= this.#reopen().finally(() => {
      this.#mending = undefined
    })
    return this.#mending
  }

  /** Opens the log again from the disk. */
  async #reopen(): Promise<void> {
    await this.#flushing
    await this.#sealing
    try {
      await this.#letGo()
      const before = { end: positionOf(this.end), next: this.#given }
      const recovered = await recover(this.#folder, before, this.#damage)
      this.#contents = new Contents(recovered.history, recovered.active)
      this.#appended = recovered.active.last
      this.#given = Math.max(this.#given, this.#appended)
      this.#sealAfter = 0
      this.#damage = undefined
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
    await this.#letGo()
  }

  async #letGo(): Promise<void> {
    const { segments, active, closing } = this.#contents
    for (const { origin, path } of segments) {
      this.#folder.cache.forget(path)
      this.#folder.cache.forget(indexPath(this.#folder, origin.number))
    }
    await active.close()
    await closing?.close()
  }
}

const failed = (what: string, cause?: unknown) =>
  cause instanceof HeadwaterError ? cause : new HeadwaterError("LOG_FAILED", what, { cause })

const closed = ({ workspace }: Folder) => new HeadwaterError("CLOSED", `the log of workspace ${workspace} is closed`)
