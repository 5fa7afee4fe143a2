/** One workspace's log on segment files. Implements the contract by group commit, look-ups, sealing and mending. */
import { HeadwaterError } from "../../src/base/errors.ts"
import {
  type Actor,
  type Cursor,
  type Entry,
  encodeEntry,
  type Hash,
  position as positionOf,
} from "../../src/wire/protocol.ts"
import type { AppendedChange, Awaitable, EntityState, Known, Log, Page, Tail } from "./contract.ts"
import { cursorAt, holdsCursor } from "./cursors.ts"
import type { Damage } from "./damage.ts"
import { type Folder, indexPath } from "./folder.ts"
import { GroupCommit } from "./group-commit.ts"
import { LookUps } from "./look-ups.ts"
import { readPage } from "./page.ts"
import { type Recovered, recover } from "./recover.ts"
import { Mending } from "./reopen-damaged.ts"
import { Sealing } from "./sealing.ts"
import { LONGEST_ENTRY_BYTES } from "./segment/record.ts"
import { Segments } from "./segments.ts"

/** The parts of an open log. All of them are replaced when the log is mended. */
interface Contents {
  readonly segments: Segments
  readonly lookUps: LookUps
  readonly sealing: Sealing
}

export class SegmentLog implements Log {
  readonly #folder: Folder
  readonly #giveBack: () => void
  readonly #commit: GroupCommit
  readonly #mending: Mending<Contents>
  #contents: Contents
  /** The highest position that any entry was given, lost entries included, because no position is given twice. */
  #given: number
  #closed = false
  readonly #flushListeners = new Set<() => void>()
  readonly #breakListeners = new Set<() => void>()

  /** Opens the log in the folder, and mends it if it is damaged. `giveBack` is called by `close`. */
  static async open(folder: Folder, giveBack: () => void): Promise<SegmentLog> {
    try {
      return new SegmentLog(folder, await recover(folder), giveBack)
    } catch (error) {
      throw failed(`the log of workspace ${folder.workspace} cannot be opened`, error)
    }
  }

  private constructor(folder: Folder, recovered: Recovered, giveBack: () => void) {
    this.#folder = folder
    this.#giveBack = giveBack
    this.#contents = this.#contentsOf(recovered)
    this.#given = this.appended
    this.#commit = this.#newCommit()
    this.#mending = this.#newMending()
  }

  get end(): Cursor {
    return this.#contents.segments.end
  }

  get appended(): number {
    return this.#contents.segments.appended
  }

  hasOrphans(entity: string): boolean {
    const { segments, lookUps } = this.#contents
    return segments.hasOrphans(lookUps.id(entity).key)
  }

  /** Approximate bytes of memory that the log takes. */
  get memory(): number {
    const { segments, lookUps } = this.#contents
    return segments.inMemory.reduce((sum, { index }) => sum + index.memory, lookUps.memory)
  }

  bytesAfter(position: number): number {
    const behind = this.#contents.segments.oldestFirst.filter(({ last }) => last > position)
    return Math.round(behind.reduce((sum, segment) => sum + segment.bytesAfter(position), 0))
  }

  // ── look-ups and reads ────────────────────────────────────────────────────────────────────────────────────────────

  entity(entity: string): Awaitable<EntityState | undefined> {
    return this.#read(({ lookUps }) => lookUps.entity(entity))
  }

  known(entity: string, hash: Hash): Awaitable<Known | undefined> {
    return this.#read(({ lookUps }) => lookUps.known(entity, hash))
  }

  tail(entity: string, actor: Actor): Awaitable<Tail | undefined> {
    return this.#read(({ lookUps }) => lookUps.tail(entity, actor))
  }

  binding(actor: Actor): Awaitable<string | undefined> {
    return this.#read(({ lookUps }) => lookUps.binding(actor))
  }

  holds(cursor: Cursor): Awaitable<boolean> {
    return positionOf(cursor) === 0 || this.#read(({ segments }) => holdsCursor(segments, cursor))
  }

  key(entity: string): string {
    return this.#contents.lookUps.id(entity).name
  }

  async since(position: number, bytes: number): Promise<Page> {
    return this.#read(({ segments }) => readPage(segments, this.#folder.reader.buffers, position, bytes))
  }

  #read<T>(read: (contents: Contents) => Awaitable<T>): Awaitable<T> {
    if (this.#closed) throw this.#isClosed()
    return this.#mending.read(read)
  }

  // ── appends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  append(entry: Entry, changes: readonly AppendedChange[], bytes: Uint8Array = encodeEntry(entry)): number {
    if (this.#closed) throw this.#isClosed()
    if (this.#mending.needed) throw failed(`the log of workspace ${this.#folder.workspace} is damaged; try again soon`)
    if (bytes.length > LONGEST_ENTRY_BYTES) {
      throw new HeadwaterError(
        "TOO_LARGE",
        `the entry has ${bytes.length} bytes, more than the ${LONGEST_ENTRY_BYTES} that a log accepts`,
      )
    }
    const { segments, lookUps } = this.#contents
    if (segments.active.full && !segments.closing) segments.rotate(this.#folder)
    const { active } = segments
    const id = lookUps.id(entry.entity)
    const position = ++this.#given
    this.#commit.add(active, position, (out) => {
      active.append(out, position, id.key, entry, changes, bytes, () => lookUps.before(id))
    })
    return position
  }

  async flushed(position: number): Promise<Cursor> {
    if (this.#mending.needed) await this.#mending.mend()
    const waiting = position > positionOf(this.end) ? this.#commit.flushOf(position) : undefined
    await waiting
    // After `shut`, `#read` throws. A caller that waits for an entry that was appended before `shut` must still get its
    // cursor.
    const found = waiting
      ? cursorAt(this.#contents.segments, position)
      : this.#read(({ segments }) => cursorAt(segments, position))
    const cursor = found instanceof Promise ? await found : found
    if (!cursor || position > positionOf(this.end)) {
      throw failed(`the entry with position ${position} is lost; append it again`)
    }
    return cursor
  }

  onFlush(f: () => void): () => void {
    this.#flushListeners.add(f)
    return () => this.#flushListeners.delete(f)
  }

  onBreak(f: () => void): () => void {
    this.#breakListeners.add(f)
    return () => this.#breakListeners.delete(f)
  }

  #newCommit(): GroupCommit {
    const { workspace, report, health } = this.#folder
    return new GroupCommit(this.#folder, () => this.#contents.segments, {
      flushed: () => {
        health.works()
        this.#tell(this.#flushListeners)
      },
      failed(cause, entries) {
        const error = failed(`the log of workspace ${workspace} cannot be written`, cause)
        health.failed()
        report({ level: "error", event: "log.failed", entries, error })
        return error
      },
      closed: (segment) => this.#contents.sealing.start(segment),
    })
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

  // ── damage ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #contentsOf({ sealed, active }: Recovered): Contents {
    const segments = new Segments(sealed, active)
    const sealing = new Sealing(this.#folder, segments, (damage) => this.#mending.note(damage))
    return { segments, lookUps: new LookUps(segments, this.#folder.sizes), sealing }
  }

  #newMending(): Mending<Contents> {
    const { workspace, report } = this.#folder
    return new Mending({
      contents: () => this.#contents,
      closed: () => this.#closed,
      reopen: (damage) => this.#reopen(damage),
      damaged: ({ message }) => report({ level: "error", event: "log.damage", message }),
      broken: () => this.#tell(this.#breakListeners),
      unreadable: (cause) => failed(`the log of workspace ${workspace} cannot be read`, cause),
    })
  }

  async #reopen(damage: Damage | undefined): Promise<boolean> {
    await this.#commit.idle()
    await this.#contents.sealing.idle()
    try {
      await this.#closeFiles()
      const flushed = new Map(this.#contents.segments.inMemory.map(({ header, size }) => [header.number, size]))
      const end = positionOf(this.end)
      // The end of the mended log must not have the position of an entry whose flush has failed: `flushed` would report
      // that entry as flushed.
      if (this.#given > end) this.#given++
      const recovered = await recover(this.#folder, { end, given: this.#given, flushed }, damage)
      this.#contents = this.#contentsOf(recovered)
      this.#given = Math.max(this.#given, this.appended)
      return recovered.broken
    } catch (error) {
      throw failed(`the log of workspace ${this.#folder.workspace} is damaged and cannot be mended`, error)
    }
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async close(): Promise<void> {
    this.#giveBack()
  }

  /** Flushes the log, and closes all its files. */
  async shut(): Promise<void> {
    this.#closed = true
    await this.#mending.idle()
    await this.#commit.idle()
    await this.#contents.sealing.idle()
    await this.#closeFiles()
  }

  async #closeFiles(): Promise<void> {
    const { segments } = this.#contents
    for (const { header, path } of segments.oldestFirst) {
      this.#folder.reader.forget(path)
      this.#folder.reader.forget(indexPath(this.#folder, header.number))
    }
    for (const segment of segments.inMemory) await segment.close()
  }

  #isClosed(): HeadwaterError {
    return new HeadwaterError("CLOSED", `the log of workspace ${this.#folder.workspace} is closed`)
  }
}

const failed = (what: string, cause?: unknown) =>
  cause instanceof HeadwaterError ? cause : new HeadwaterError("LOG_FAILED", what, { cause })
