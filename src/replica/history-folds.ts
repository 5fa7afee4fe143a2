/**
 * Moves loose changes into the pages of their entities, in idle time: when nothing was committed for a second, a few
 * entities at a time. All changes of a new entity move together. Later changes of the entity move once there are
 * `looseHistory` of them, because each move rewrites the newest page. Some seconds after the workspace has opened,
 * `HistoryFolds` also looks for changes that an earlier session has left loose.
 *
 * Changes that may still leave the entity, or that are read one by one, stay loose: changes in the outbox, changes
 * whose verdict is open, changes that wait for other changes, and bad changes. A live document of the entity is not
 * affected: it does not read the disk again, and a fold does not alter changes.
 */
import type { Key } from "../store/store.ts"
import type { Hash } from "../wire/protocol.ts"
import { type Fold, foldHistory } from "./disk/fold-history.ts"
import { keys } from "./disk/records.ts"
import type { Replica } from "./replica.ts"
import { isOfDisk } from "./store-error.ts"
import type { Transaction } from "./transaction.ts"

/** Histories are folded when nothing was committed for this time. */
const QUIET_MS = 1000
/** Wait between two steps that fold, so that other work has its turn. */
const PAUSE_MS = 10
/** Wait between the opening and the search for changes that an earlier session has left loose. */
const SEARCH_MS = 10_000
/** How many records this search reads at once. Each may have a megabyte. */
const SEARCHED_AT_ONCE = 16
/** As the last part of a key, sorts after every hash. */
const BEHIND_HASHES = "~"
/** A step that folds ends after this many bytes of chunks, so that its commit stays small. */
const STEP_BYTES = 2 ** 20
/** Wait after the first fold that failed. Doubles with each failure in a row, because each drops all live documents. */
const FIRST_REST_MS = 60_000
/** The longest wait after a fold that failed. */
const LONGEST_REST_MS = 3_600_000
/** An entity with this many times `looseHistory` loose changes is folded even while other steps run. */
const PRESSING = 16

const NOTHING = { changes: 0, bytes: 0, isPart: false }

export class HistoryFolds {
  readonly #replica: Replica
  /** By entity: how many of its loose changes may move, as far as this session knows. */
  readonly #counts = new Map<string, number>()
  /** Entities that were new in this session and have no page yet. */
  readonly #unpaged = new Set<string>()
  /** Entities whose fold is due. */
  readonly #ready = new Set<string>()
  /** The entities of `#ready` that are folded even while other steps run. */
  readonly #pressing = new Set<string>()
  /** Entities whose fold is due once their row is made. */
  readonly #stale = new Set<string>()
  /** How many commits this replica has made, except commits that fold histories. */
  #commits = 0
  /** How many folds in a row have failed. */
  #failures = 0
  #isFolding = false
  /** Whether the wait after a failed fold has not ended yet. */
  #isResting = false
  #isStopped = false
  #cancelFold: (() => void) | undefined
  #cancelSearch: (() => void) | undefined
  #cancelRest: (() => void) | undefined

  constructor(replica: Replica) {
    this.#replica = replica
  }

  /** Call after each commit: counts the changes that may move now. */
  follow({ newEntities, held, outbox, stale }: Transaction): void {
    if (!this.#isFolding) this.#commits++
    for (const entity of newEntities) this.#unpaged.add(entity)
    for (const [entity, changes] of held) {
      let stored = 0
      for (const hash of changes.keys()) if (outbox.get(hash)?.removed !== false) stored++
      this.#count(entity, stored)
    }
    for (const { owed, removed } of outbox.values()) if (removed) this.#count(owed.entity, 1)
    for (const [entity, mark] of stale) {
      if (mark?.waiting !== false && this.#stale.delete(entity)) this.#ready.add(entity)
    }
  }

  #count(entity: string, more: number): void {
    if (more === 0) return
    const { looseHistory } = this.#replica.sizes
    const count = (this.#counts.get(entity) ?? 0) + more
    this.#counts.set(entity, count)
    if (this.#unpaged.has(entity) || count >= looseHistory) this.#ready.add(entity)
    if (count >= PRESSING * looseHistory) this.#pressing.add(entity)
  }

  /** Call after each group. */
  afterGroup(): void {
    if (!this.#isFolding) this.#foldSoon(QUIET_MS)
  }

  #foldSoon(ms: number): void {
    if (this.#cancelFold !== undefined || this.#isFolding || this.#isResting || this.#isStopped) return
    if (this.#ready.size === 0) return
    if (this.#replica.sizes.foldedHistories === 0) return
    const commits = this.#commits
    this.#cancelFold = this.#replica.clock.after(ms, () => {
      this.#cancelFold = undefined
      const isQuiet = this.#commits === commits
      // No fold during a heal, whose `have` reads the records of all entities. No fold after a failure of the disk
      // until a commit has succeeded, and none until damaged records are made again.
      const { state, failure, isDamaged } = this.#replica
      if (state.heal || failure !== null || isDamaged) return // the next group sets the timer again
      if (!isQuiet && this.#pressing.size === 0) return this.#foldSoon(QUIET_MS)
      this.#isFolding = true
      this.#foldSome(isQuiet ? this.#ready : this.#pressing).then(
        () => {
          this.#isFolding = false
          this.#failures = 0
          this.#foldSoon(isQuiet ? PAUSE_MS : QUIET_MS)
        },
        () => {
          this.#isFolding = false
          this.#rest()
        },
      )
    })
  }

  /**
   * Call when a fold has failed: waits longer before the next fold. The disk may have room for small commits, but not
   * for pages.
   */
  #rest(): void {
    if (this.#isStopped) return
    this.#isResting = true
    const ms = Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** this.#failures++)
    this.#cancelRest = this.#replica.clock.after(
      ms,
      () => {
        this.#isResting = false
        this.#foldSoon(QUIET_MS)
      },
      true,
    )
  }

  /**
   * Folds some of these entities. The step is alone in its group, because other steps may write to the same records.
   */
  async #foldSome(entities: ReadonlySet<string>): Promise<void> {
    await this.#replica.step([], (tx) => this.#fold([...entities], tx), true)
  }

  async #fold(entities: readonly string[], tx: Transaction): Promise<void> {
    const { foldedHistories, foldedChanges } = this.#replica.sizes
    const folded: string[] = []
    let changes = 0
    let bytes = 0
    let isPart = false
    for (const entity of entities) {
      if (folded.length === foldedHistories || changes >= foldedChanges || bytes >= STEP_BYTES || isPart) break
      if (tx.staleOf(entity)?.waiting === false) this.#stale.add(entity)
      else {
        const fold = await this.#foldOne(entity, tx)
        changes += fold.changes
        bytes += fold.bytes
        isPart = fold.isPart // the next step folds more of this entity
      }
      if (!isPart) folded.push(entity)
    }
    const done = () => {
      for (const entity of folded) this.#forget(entity)
    }
    tx.add({ writes: [], done })
  }

  /** Folds the loose changes of an entity that may move: the oldest first, as many as fit into one fold. */
  async #foldOne(entity: string, tx: Transaction): Promise<Pick<Fold, "changes" | "bytes" | "isPart">> {
    const { store, id, outbox, sizes, documents } = this.#replica
    // The relay may acknowledge the changes of a creation one by one. They are folded together, once all are
    // acknowledged.
    if (this.#unpaged.has(entity) && outbox.of(entity).length > 0) return NOTHING
    const { suspects = [], unnamed = [] } = tx.staleOf(entity) ?? {}
    const open = new Set([...suspects, ...unnamed])
    const bad = tx.badOf(entity)
    const mayMove = (hash: Hash) => !open.has(hash) && !bad.has(hash) && tx.owed(entity, hash) === undefined
    try {
      const fold = await foldHistory(store, id, entity, mayMove, sizes)
      if (fold === "damaged") {
        await documents.saved.held(entity, tx) // this reading notes the damage
        return NOTHING
      }
      for (const [key, value] of fold.writes) tx.put(key, value)
      if (fold.changes > 0) this.#unpaged.delete(entity)
      return fold
    } catch (error) {
      if (!isOfDisk(error)) throw error
      return NOTHING // one bad sector must not keep the histories of all other entities loose
    }
  }

  #forget(entity: string): void {
    this.#ready.delete(entity)
    this.#pressing.delete(entity)
    this.#counts.delete(entity)
  }

  /** Call when the workspace opens. `SEARCH_MS` later, looks for changes that an earlier session has left loose. */
  searchLater(): void {
    if (this.#replica.sizes.foldedHistories === 0) return
    this.#cancelSearch = this.#replica.clock.after(SEARCH_MS, () => void this.#search().catch(() => {}), true)
  }

  async #search(): Promise<void> {
    const { store, id, clock, outbox } = this.#replica
    let after: Key | undefined
    while (!this.#isStopped) {
      const records = await store.list(keys.changes(id), { limit: SEARCHED_AT_ONCE, ...(after && { after }) })
      for (const [[, , entity = "", hash = ""]] of records) {
        if (outbox.get(entity, hash) === undefined) this.#ready.add(entity)
      }
      this.#foldSoon(QUIET_MS)
      const last = records.at(-1)?.[0]
      if (last === undefined || records.length < SEARCHED_AT_ONCE) return
      after = [...keys.changesOf(id, last[2] ?? ""), BEHIND_HASHES]
      await new Promise<void>((resolve) => void clock.after(PAUSE_MS, resolve, true))
    }
  }

  /** Begins no more folds. A later session folds the changes that are still loose. */
  stop(): void {
    this.#isStopped = true
    this.#cancelFold?.()
    this.#cancelSearch?.()
    this.#cancelRest?.()
  }
}
