/**
 * The idle work of a replica, done when no other step waits: it projects stale entities, folds loose records into
 * pages, shows hidden times that have passed, and tries the disk again after a failure.
 */
import { HeadwaterError } from "../base/errors.ts"
import { Listeners } from "../base/listeners.ts"
import { listAt } from "../base/maps.ts"
import type { Mended } from "../base/mended.ts"
import { Turns } from "../base/turns.ts"
import { automergeVersion } from "../document/entity.ts"
import type { Key } from "../store/store.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Held } from "./disk/change-record.ts"
import { type BadRecord, PROBE } from "./disk/records.ts"
import { HistoryFolds } from "./history-folds.ts"
import type { IdleWork } from "./idle-interface.ts"
import { mendedOf, mendRecords } from "./mend-records.ts"
import { leaveOut } from "./projecting.ts"
import type { Replica } from "./replica.ts"
import { RowsInPull } from "./rows-in-pull.ts"
import { isOfDisk } from "./store-error.ts"
import type { Transaction } from "./transaction.ts"

/** Wait between the moment at which a fold becomes due and the fold, so that a burst of writes is folded once. */
const FOLD_DELAY_MS = 1000
/**
 * How many folds run at most when the workspace closes. The next open reads the records that are still loose one by
 * one.
 */
const FOLDS_AT_CLOSE = 100
/**
 * Wait between reading an entity and making its document. If an app reads many entities in turn, it reads the next
 * entity before this time has passed, and no document is made.
 */
const OPEN_DELAY_MS = 30
/** Wait between a failure of the disk or of WebAssembly and the next try. */
const RETRY_MS = 5000
/** Wait between two checks whether the store still exists. */
const LOOK_MS = 5000
/** While rows are made, the changes of this many entities are in memory at the same time. */
const HELD_AT_ONCE = 16
/**
 * Making a document takes about as long as reading its operations this many times. With 262,143 operations, making it
 * takes 5 s, and reading them takes 0.4 s.
 */
const READS_PER_DOCUMENT = 12
/** Longest wait before hidden times are checked again, because the relay may send its time meanwhile. */
const SHOW_MS = 60_000

export class Idle implements IdleWork {
  /** Called for each damaged record once it is made again and saved. */
  readonly mended = new Listeners<[Mended]>()
  readonly #replica: Replica
  readonly #histories: HistoryFolds
  /** Whether a step that projects stale entities is in the queue. */
  #projecting = false
  /**
   * Stale entities whose document could not be made, or whose changes could not be read. `afterFailure` tries them
   * again.
   */
  readonly #resting = new Set<string>()
  readonly #pull: RowsInPull
  /** The error of the disk when a step that projects stale entities could not read the changes of one; or undefined. */
  #unread: HeadwaterError | undefined
  /** Whether the verdicts of other builds of Automerge have been withdrawn in this session. */
  #judged = false
  #closing = false
  #cancelFold: (() => void) | undefined
  #cancelRetry: (() => void) | undefined
  #cancelOpen: (() => void) | undefined
  #cancelShow: (() => void) | undefined
  #cancelLook: (() => void) | undefined

  constructor(replica: Replica) {
    this.#replica = replica
    this.#histories = new HistoryFolds(replica)
    this.#pull = new RowsInPull(replica.clock, () => this.afterGroup())
  }

  afterCommit(tx: Transaction): void {
    this.#histories.follow(tx)
  }

  /** Call when the workspace opens. Some seconds later, folds the changes that an earlier session has left loose. */
  foldEarlier(): void {
    if (!this.#closing) this.#histories.searchLater()
  }

  /** Starts the idle work that is due. */
  afterGroup(): void {
    if (this.#closing) return
    this.#histories.afterGroup()
    this.#projectStale()
    this.#foldSoon()
    this.#showInTime()
  }

  /** Checks every few seconds whether the store still exists, because a removed store may go on accepting writes. */
  watchStore(): void {
    const { store, clock } = this.#replica
    const look = store.look?.bind(store)
    if (look === undefined || this.#closing) return
    this.#cancelLook = clock.after(
      LOOK_MS,
      () => {
        look().then(
          () => this.watchStore(),
          (error) => {
            if (!this.#closing) this.#replica.noteFailure(error)
            if (error.code !== "STORE_GONE") this.watchStore()
          },
        )
      },
      true,
    )
  }

  #showInTime(): void {
    const due = this.#cancelShow === undefined ? this.#replica.rows.nextDue() : undefined
    if (due === undefined) return
    this.#cancelShow = this.#replica.clock.after(Math.min(Math.max(due, 1000), SHOW_MS), () => {
      this.#cancelShow = undefined
      this.#replica.showDue()
      this.afterGroup()
    })
  }

  /**
   * Makes the document of the entity that was read last, so that its first edit waits neither for the document nor for
   * WebAssembly.
   */
  afterRead(entity: string): void {
    const { clock, documents } = this.#replica
    this.#cancelOpen?.()
    if (this.#closing) return
    this.#cancelOpen = clock.after(OPEN_DELAY_MS, () => {
      const open = async (tx: Transaction) => {
        if (tx.exists(entity) && tx.state.access !== "read") await documents.live(entity, tx)
      }
      // An error is dropped here, because the edit will fail with the same error. If WebAssembly cannot be loaded, the
      // status says so at once.
      this.#replica.step([], open).catch(() => {})
    })
  }

  expectEntries(more: boolean): void {
    this.#pull.expect(more)
  }

  async mend(tx: Transaction, records: readonly Key[]): Promise<void> {
    // Damaged records of the rejected list cannot be made again.
    const mended = records.filter(([, kind]) => kind !== "rejected").map(mendedOf)
    await mendRecords(this.#replica, tx, records)
    const done = () => {
      for (const one of mended) this.mended.tell(() => [one])
    }
    tx.add({ writes: [], done })
  }

  /** Tries again `RETRY_MS` after a failure: the disk, or the network that WebAssembly comes from, may work again. */
  afterFailure(): void {
    if (this.#closing) return
    this.#cancelRetry ??= this.#replica.clock.after(RETRY_MS, () => {
      this.#cancelRetry = undefined
      this.#resting.clear()
      this.#replica.documents.tryAgain()
      this.#tryDisk()
      this.afterGroup()
    })
  }

  /**
   * Writes the state record after a failure of the disk. The status reports the failure until a commit succeeds, and
   * perhaps no other step commits anything.
   */
  #tryDisk(): void {
    const replica = this.#replica
    if (replica.failure === null) return
    const tried = replica.step([], (tx) => {
      tx.state = { ...tx.state }
    })
    tried.catch(() => {}) // `afterFailure` starts the next try
  }

  /**
   * Finds the collections whose stored rows were made by another version of the projection. Marks their entities as
   * stale, so that their rows are made again.
   */
  projectAgain(projections: Readonly<Record<string, string>>): void {
    const replica = this.#replica
    const before = replica.state.projections
    const moved = Object.keys(projections).filter((name) => projections[name] !== before[name])
    if (moved.length === 0) return
    const marked = replica.step([], (tx) => {
      for (const name of moved) {
        for (const id of replica.rows.of(name).ids()) {
          const { suspects = [], unnamed } = tx.staleOf(id) ?? {}
          tx.markStale(id, { suspects, waiting: false, ...(unnamed && { unnamed }) })
        }
      }
      tx.state = { ...tx.state, projections: { ...tx.state.projections, ...projections } }
    })
    marked.catch(() => {}) // if it fails, the next open compares the projections again
  }

  /**
   * Withdraws the verdicts of other builds of Automerge, so that this build judges the same changes again. Called when
   * Automerge is loaded, because only a loaded Automerge says which build it is.
   */
  automergeLoaded(): void {
    if (this.#judged || this.#closing) return
    this.#judged = true
    const build = automergeVersion()
    this.#judgeAgain(({ automerge }) => automerge !== "" && automerge !== build).catch(() => {
      this.#judged = false
    })
  }

  /**
   * Withdraws `CHUNK_BAD` verdicts of older versions of this library, which could mistake a failure of the machine for
   * a bad change. The changes are judged once more, and rows that were removed because of these verdicts come back.
   */
  judgeProbedBefore(): void {
    const isDue = ({ code, automerge, probe }: BadRecord) => code === "CHUNK_BAD" && automerge !== "" && probe !== PROBE
    this.#judgeAgain(isDue).catch(() => {}) // if it fails, the next open tries again
  }

  /** Withdraws the verdicts for which `isDue` returns true. Their changes become suspects, and are judged again. */
  async #judgeAgain(isDue: (record: BadRecord) => boolean): Promise<void> {
    const replica = this.#replica
    const due = new Map<string, Hash[]>()
    for (const [entity, records] of replica.bad) {
      for (const [hash, record] of records) if (isDue(record)) listAt(due, entity).push(hash)
    }
    if (due.size === 0) return
    await replica.step([], (tx) => {
      for (const [entity, hashes] of due) {
        const mark = tx.staleOf(entity) ?? { suspects: [] }
        for (const hash of hashes) tx.markBad(entity, hash, undefined)
        tx.markStale(entity, { ...mark, suspects: [...mark.suspects, ...hashes], waiting: false })
        replica.documents.drop(entity) // its next hydration judges the changes
      }
    })
  }

  #projectStale(): void {
    if (this.#projecting) return
    const due: string[] = []
    const { projectAtOnce, readAtOnce, readRows } = this.#replica.sizes
    const most = readRows ? readAtOnce : projectAtOnce
    for (const [entity, mark] of this.#replica.stale) {
      const waits = mark.waiting || this.#resting.has(entity) || this.#pull.waits(entity)
      if (!waits && due.push(entity) === most) break
    }
    if (due.length === 0) return
    this.#projecting = true
    const projected = this.#replica.step([], (tx) => this.#projectSome(due, tx))
    projected.then(
      () => {
        this.#projecting = false
        if (this.#unread !== undefined) this.#replica.noteFailure(this.#unread)
        this.#unread = undefined
        this.afterGroup()
      },
      () => {
        this.#projecting = false
        this.afterFailure()
      },
    )
  }

  /**
   * Projects these entities until the step has used `projectAtOnce` or `readOperations`; the next step projects the
   * others. Turns are counted in bytes and in operations, because a change of 96 bytes may have 262,144 operations.
   */
  async #projectSome(due: readonly string[], tx: Transaction): Promise<void> {
    const { clock, sizes } = this.#replica
    this.#unread = undefined // the step may run twice, and its first run may have set `#unread`
    const turns = new Turns(clock, sizes.readBytes)
    let documentsLeft = sizes.projectAtOnce
    let operationsLeft = sizes.readOperations
    for (let i = 0; i < due.length; i += HELD_AT_ONCE) {
      const some = due.slice(i, i + HELD_AT_ONCE)
      const held = await Promise.all(some.map((entity) => this.#read(entity, tx)))
      for (const [k, entity] of some.entries()) {
        const changes = held[k]
        if (changes === undefined) continue
        const tookDocument = await this.#project(entity, tx, changes)
        if (tookDocument) documentsLeft--
        const operations = operationsOf(changes) * (tookDocument ? READS_PER_DOCUMENT : 1)
        operationsLeft -= operations
        if (documentsLeft === 0 || operationsLeft <= 0) return
        const pause = turns.worked(Math.max(bytesOf(changes), operations))
        if (pause !== undefined) await pause
      }
    }
  }

  /**
   * Reads the changes of an entity. Returns undefined when the disk cannot read them now: one bad sector must not keep
   * the rows of all other entities from being made.
   */
  async #read(entity: string, tx: Transaction): Promise<Map<Hash, Held> | undefined> {
    try {
      return await this.#replica.documents.saved.held(entity, tx)
    } catch (error) {
      if (!isOfDisk(error)) throw error
      this.#unread = error
      this.#resting.add(entity)
      return undefined
    }
  }

  /** Projects an entity. Returns true if it made a document for that, or tried to. */
  async #project(entity: string, tx: Transaction, held: ReadonlyMap<Hash, Held>): Promise<boolean> {
    if (tx.staleOf(entity) === undefined) return false
    const made = () => tx.add({ writes: [], done: () => this.#pull.made(entity) })
    try {
      if (this.#replica.readClosed(entity, held, tx)) {
        made()
        return false
      }
      if (this.#replica.documents.wasmFailure !== null && this.#cancelRetry !== undefined) {
        this.#resting.add(entity) // until the next try; rows that need no document are made meanwhile
        return false
      }
      if ((await this.#replica.documents.live(entity, tx, held)) !== undefined) tx.touch(entity)
      made()
    } catch (error) {
      if (!(error instanceof HeadwaterError) || error.code !== "WASM_FAILED") leaveOut(entity, tx, error)
      this.#resting.add(entity)
      this.afterFailure()
    }
    return true
  }

  #foldSoon(): void {
    if (this.#cancelFold !== undefined || !this.#foldDue) return
    this.#cancelFold = this.#replica.clock.after(FOLD_DELAY_MS, () => {
      this.#fold().then(
        () => {
          this.#cancelFold = undefined
          this.afterGroup()
        },
        (error: unknown) => {
          this.#cancelFold = undefined
          if (error instanceof HeadwaterError && error.code === "STORE_FORMAT") this.#replica.readEverything()
          this.afterFailure()
        },
      )
    })
  }

  get #foldDue(): boolean {
    return this.#replica.rows.foldDue || this.#replica.outbox.foldDue
  }

  /**
   * Folds loose rows or loose outbox records into a few pages. The step is alone in its group, because it rewrites
   * records to which another step might write.
   */
  async #fold(): Promise<void> {
    const { store } = this.#replica
    const fold = async (tx: Transaction) => {
      const { rows, outbox } = this.#replica
      const plan = (rows.foldDue ? await rows.fold(store) : undefined) ?? (await outbox.fold(store))
      if (plan !== undefined) tx.add(plan)
    }
    await this.#replica.step([], fold, true)
  }

  /**
   * Stops idle work, then folds rows and outbox until no fold is due, because the next open reads loose records one by
   * one. `quickly`: folds nothing.
   */
  async close(quickly: boolean): Promise<void> {
    this.#closing = true
    this.#histories.stop()
    this.#cancelFold?.()
    this.#cancelRetry?.()
    this.#cancelOpen?.()
    this.#cancelShow?.()
    this.#pull.stop()
    this.#cancelLook?.()
    if (quickly) return
    try {
      for (let folds = 0; this.#foldDue && folds < FOLDS_AT_CLOSE; folds++) await this.#fold()
    } catch {
      // The disk has failed, so the records stay loose.
    }
  }
}

function operationsOf(changes: ReadonlyMap<Hash, Held>): number {
  let operations = 0
  for (const { change } of changes.values()) operations += change.ops
  return operations
}

function bytesOf(changes: ReadonlyMap<Hash, Held>): number {
  let bytes = 0
  for (const { change } of changes.values()) bytes += change.chunk.length
  return bytes
}
