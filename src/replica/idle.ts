/**
 * What a replica does when no other step waits: it projects entities that changed elsewhere, folds loose records into pages,
 * shows times that have come, and tries a disk that has failed again.
 */
import { HeadwaterError } from "../base/errors.ts"
import { listAt } from "../base/maps.ts"
import { automergeVersion } from "../document/entity.ts"
import type { Key } from "../store/store.ts"
import type { Hash } from "../wire/protocol.ts"
import type { BadRecord } from "./disk/records.ts"
import type { Held } from "./held-change.ts"
import { leaveOut } from "./projecting.ts"
import { recover } from "./recover.ts"
import type { IdleWork, Replica } from "./replica.ts"
import type { Transaction } from "./transaction.ts"

/** From the moment at which a fold is due to the fold: a burst of writes is folded once. */
const FOLD_DELAY_MS = 1000
/** Folds when the workspace closes; what is left stays loose, and the next open reads it one by one. */
const FOLDS_AT_CLOSE = 100
/** From a failure of the disk or of WebAssembly to the next try. */
const RETRY_MS = 5000
/** Longest wait before rows that hide a time are looked at: the relay may correct our clock meanwhile. */
const SHOW_MS = 60_000

export class Idle implements IdleWork {
  readonly #replica: Replica
  /** A step that projects stale entities is in the queue. */
  #projecting = false
  /** Entities of which no document could be made; they are left alone until the next try. */
  readonly #resting = new Set<string>()
  /** Verdicts of other builds of Automerge have been withdrawn. */
  #judged = false
  #closing = false
  #cancelFold: (() => void) | undefined
  #cancelRetry: (() => void) | undefined
  #cancelShow: (() => void) | undefined

  constructor(replica: Replica) {
    this.#replica = replica
  }

  /** Looks whether there is anything to do. */
  afterGroup(): void {
    if (this.#closing) return
    this.#projectStale()
    this.#foldSoon()
    this.#showInTime()
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

  /** Has records that are damaged made again, in the next group. */
  damaged(records: readonly Key[]): void {
    recover(this.#replica, records).catch(() => this.#replica.readEverything()) // the next group finds them again
  }

  /** Tries again some seconds after a failure: the disk, or the network that WebAssembly comes from, may be back. */
  afterFailure(): void {
    if (this.#closing) return
    this.#cancelRetry ??= this.#replica.clock.after(RETRY_MS, () => {
      this.#cancelRetry = undefined
      this.#resting.clear()
      this.#tryDisk()
      this.afterGroup()
    })
  }

  /** Status says that the disk fails until something is saved. Where nobody writes, this does. */
  #tryDisk(): void {
    const replica = this.#replica
    if (replica.failure === null) return
    const tried = replica.step([], (tx) => {
      tx.state = { ...tx.state }
    })
    tried.catch(() => {}) // the failure starts the next try
  }

  /** Marks the entities of each collection whose rows were made by another projection than this one, so that all are
   * projected again. */
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
    marked.catch(() => {}) // the next open finds the old projection again
  }

  /**
   * Withdraws the verdicts of other builds of Automerge, so that this build judges those changes again. Only a loaded
   * Automerge says which build it is.
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
   * Withdraws verdicts of versions that took a failure of the machine for a property of the change: they are judged once more,
   * and the rows that went with them come back.
   */
  judgeUnprobedAgain(): void {
    const unprobed = ({ code, automerge, probed }: BadRecord) => code === "CHUNK_BAD" && automerge !== "" && !probed
    this.#judgeAgain(unprobed).catch(() => {}) // the next open finds them again
  }

  /** Marks the changes with such verdicts, and what waits for them, as changes whose verdict is open. */
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
        replica.documents.drop(entity) // the next hydration judges them
      }
    })
  }

  #projectStale(): void {
    if (this.#projecting) return
    const due: string[] = []
    for (const [entity, mark] of this.#replica.stale) {
      if (!mark.waiting && !this.#resting.has(entity) && due.push(entity) === this.#replica.sizes.projectAtOnce) break
    }
    if (due.length === 0) return
    this.#projecting = true
    const projected = this.#replica.step([], async (tx) => {
      const held = await Promise.all(due.map((entity) => this.#replica.documents.held(entity, tx)))
      for (const [i, entity] of due.entries()) await this.#project(entity, tx, held[i] as Map<Hash, Held>)
    })
    projected.then(
      () => {
        this.#projecting = false
        this.afterGroup()
      },
      () => {
        this.#projecting = false
        this.afterFailure()
      },
    )
  }

  async #project(entity: string, tx: Transaction, held: ReadonlyMap<Hash, Held>): Promise<void> {
    if (tx.staleOf(entity) === undefined) return
    try {
      if ((await this.#replica.documents.live(entity, tx, held)) !== undefined) tx.touch(entity)
    } catch (error) {
      leaveOut(entity, tx, error)
      this.#resting.add(entity)
      this.afterFailure()
    }
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

  /** Folds a few pages. It is alone in its group, because it rewrites records that another step might write to. */
  async #fold(): Promise<void> {
    const { store } = this.#replica
    const fold = async (tx: Transaction) => {
      const { rows, outbox } = this.#replica
      const plan = (rows.foldDue ? await rows.fold(store) : undefined) ?? (await outbox.fold(store))
      if (plan !== undefined) tx.add(plan)
    }
    await this.#replica.step([], fold, true)
  }

  /** Folds until no more records are loose than the next open reads quickly; with `quickly`, folds nothing. */
  async close(quickly: boolean): Promise<void> {
    this.#closing = true
    this.#cancelFold?.()
    this.#cancelRetry?.()
    this.#cancelShow?.()
    if (quickly) return
    try {
      for (let folds = 0; this.#foldDue && folds < FOLDS_AT_CLOSE; folds++) await this.#fold()
    } catch {
      // The disk has failed: the loose records stay in front of their pages.
    }
  }
}
