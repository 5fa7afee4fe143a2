/** What a replica does when nothing else waits: rows of what changed elsewhere, and folding newer rows into pages. */
import { automergeVersion } from "../document/entity.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Replica } from "./replica.ts"
import type { Held, Transaction } from "./transaction.ts"

const FOLD_DELAY_MS = 1000
const FOLDS_AT_CLOSE = 100
const RETRY_MS = 5000
/** How often rows are looked at whose time is still to come: the relay may tell us meanwhile that it has. */
const SHOW_MS = 60_000

export class Idle {
  readonly #replica: Replica
  #projecting = false
  #judged = false
  #closing = false
  #cancelFold: (() => void) | undefined
  #cancelRetry: (() => void) | undefined
  #cancelShow: (() => void) | undefined

  constructor(replica: Replica) {
    this.#replica = replica
  }

  /** After every commit: is there anything to do? */
  look(): void {
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
      this.look()
    })
  }

  /** After a failure: again when the disk, or the network that WebAssembly comes from, may be back. */
  lookLater(): void {
    if (this.#closing) return
    this.#cancelRetry ??= this.#replica.clock.after(RETRY_MS, () => {
      this.#cancelRetry = undefined
      this.#tryDisk()
      this.look()
    })
  }

  /** A disk that has failed is said to fail until something has been saved, and perhaps nobody writes. */
  #tryDisk(): void {
    const replica = this.#replica
    if (replica.failure === null) return
    const tried = replica.step([], (tx) => {
      tx.state = { ...tx.state }
    })
    tried.catch(() => {}) // it is tried again
  }

  /** Rows of another projection are shown as stale until they are made again. */
  projectAllAgain(projection: string): void {
    const replica = this.#replica
    const marked = replica.step([], (tx) => {
      for (const collection of replica.rows.names()) {
        for (const id of replica.rows.of(collection).byId.keys()) {
          if (!replica.stale.has(id)) tx.markStale(id, { suspects: [], waiting: false })
        }
      }
      tx.state = { ...tx.state, projection }
    })
    marked.catch(() => {}) // the next open finds the old projection again
  }

  /**
   * What another build of Automerge has set aside is tried again, with what waits for it. Asked when Automerge is loaded:
   * only then is it known which build this is.
   */
  judgeAgain(): void {
    if (this.#judged || this.#closing) return
    this.#judged = true
    const replica = this.#replica
    const build = automergeVersion()
    const due = new Map<string, Hash[]>()
    for (const [entity, records] of replica.bad) {
      const hashes = [...records].filter(([, { automerge }]) => automerge !== "" && automerge !== build)
      if (hashes.length > 0)
        due.set(
          entity,
          hashes.map(([hash]) => hash),
        )
    }
    if (due.size === 0) return
    const marked = replica.step([], (tx) => {
      for (const [entity, hashes] of due) {
        const mark = replica.staleOf(entity, tx) ?? { suspects: [] }
        for (const hash of hashes) tx.markBad(entity, hash, undefined)
        tx.markStale(entity, { ...mark, suspects: [...mark.suspects, ...hashes], waiting: false })
        replica.documents.drop(entity) // the next use judges them
      }
    })
    marked.catch(() => {
      this.#judged = false
    })
  }

  #projectStale(): void {
    if (this.#projecting) return
    const due: string[] = []
    for (const [entity, mark] of this.#replica.stale) {
      if (!mark.waiting && due.push(entity) === this.#replica.sizes.projectAtOnce) break
    }
    if (due.length === 0) return
    this.#projecting = true
    const projected = this.#replica.step([], async (tx) => {
      const held = await Promise.all(due.map((entity) => this.#replica.held(entity, tx)))
      for (const [i, entity] of due.entries()) await this.#project(entity, tx, held[i] as Map<Hash, Held>)
    })
    projected.then(
      () => {
        this.#projecting = false
        this.look()
      },
      () => {
        this.#projecting = false
        this.lookLater()
      },
    )
  }

  async #project(entity: string, tx: Transaction, held: ReadonlyMap<Hash, Held>): Promise<void> {
    if (this.#replica.staleOf(entity, tx) === undefined) return
    try {
      if ((await this.#replica.live(entity, tx, held)) !== undefined) tx.touched.add(entity)
    } catch (error) {
      this.#replica.leaveOut(entity, tx, error)
    }
  }

  #foldSoon(): void {
    if (this.#cancelFold !== undefined || !this.#foldDue) return
    this.#cancelFold = this.#replica.clock.after(FOLD_DELAY_MS, () => {
      this.#fold().then(
        () => {
          this.#cancelFold = undefined
          this.look()
        },
        () => {
          this.#cancelFold = undefined
          this.lookLater()
        },
      )
    })
  }

  get #foldDue(): boolean {
    return this.#replica.rows.foldDue || this.#replica.outbox.foldDue
  }

  /** Folds a few pages; alone in its group, for it rewrites records that another step may be writing. */
  async #fold(): Promise<void> {
    const { store } = this.#replica
    const fold = async (tx: Transaction) => {
      const { rows, outbox } = this.#replica
      const folded = (rows.foldDue ? await rows.fold(store) : undefined) ?? (await outbox.fold(store))
      for (const write of folded?.writes ?? []) tx.writes.push(write)
      return folded?.done
    }
    const done = await this.#replica.step([], fold, true)
    done?.()
  }

  /** Leaves no more newer records than the next open reads quickly; `quickly` leaves them all. */
  async close(quickly: boolean): Promise<void> {
    this.#closing = true
    this.#cancelFold?.()
    this.#cancelRetry?.()
    this.#cancelShow?.()
    if (quickly) return
    try {
      for (let folds = 0; this.#foldDue && folds < FOLDS_AT_CLOSE; folds++) await this.#fold()
    } catch {
      // The disk says no: they stay in front of their pages.
    }
  }
}
