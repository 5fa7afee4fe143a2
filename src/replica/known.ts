/** What a replica believes its disk holds, documents aside: read at open, and again after a commit that failed. */
import type { Clock } from "../base/env.ts"
import { HeadwaterError } from "../base/errors.ts"
import type { Sizes } from "../base/sizes.ts"
import type { AnyDef } from "../schema/schema.ts"
import type { Key, Store } from "../store/store.ts"
import type { Hash } from "../wire/protocol.ts"
import { Outbox } from "./outbox.ts"
import {
  type BadRecord,
  emptyState,
  keys,
  type RejectedRecord,
  readJson,
  readState,
  type StaleRecord,
  type State,
  type StoredRow,
} from "./records.ts"
import { type RowDelta, Rows } from "./rows.ts"
import type { Transaction } from "./transaction.ts"

export type Defs = ReadonlyMap<string, AnyDef>
/** The rows that a commit makes; undefined: the entity is gone. */
export type NewRows = Map<string, { readonly collection: string; readonly row: StoredRow | undefined }>
export interface SetAside {
  readonly entity: string
  readonly record: BadRecord | RejectedRecord
  /** By the relay; otherwise by this replica, as by every other one. */
  readonly refused: boolean
}
type ByHash<T> = Map<string, Map<Hash, T>>

export interface Surroundings {
  readonly projection: string
  readonly clock: Clock
  readonly sizes: Sizes
}

export class Memory {
  readonly outbox: Outbox
  readonly stale = new Map<string, StaleRecord>()
  readonly bad: ByHash<BadRecord> = new Map()
  readonly rejected: ByHash<RejectedRecord> = new Map()
  readonly rows: Rows
  state: State
  /** There is no state record yet: the first commit writes it. */
  fresh: boolean
  /** The entity of which a change was set aside last. */
  #latest = ""
  readonly #clock: Clock

  private constructor(
    workspace: string,
    defs: Defs,
    saved: State | undefined,
    { projection, clock, sizes }: Surroundings,
  ) {
    this.state = saved ?? emptyState(projection)
    this.fresh = saved === undefined
    this.#clock = clock
    this.outbox = new Outbox(workspace, sizes)
    this.rows = new Rows(
      workspace,
      defs,
      {
        pending: (entity) => this.outbox.pending(entity),
        stale: (entity) => this.stale.get(entity)?.waiting === false,
        first: () => this.state.first,
        now: () => this.seconds() * 1000,
      },
      sizes,
    )
  }

  /** Rows, outbox and marks: no document and no chunk. `STORE_FORMAT`, `STORE_FAILED`. */
  static async read(store: Store, workspace: string, defs: Defs, around: Surroundings): Promise<Memory> {
    const memory = new Memory(workspace, defs, await readState(store, workspace), around)
    await memory.outbox.load(store)
    const each = async <T>(prefix: Key, take: (entity: string, hash: Hash, record: T) => void) => {
      for (const [key, value] of await store.list(prefix)) take(key[2] ?? "", key[3] ?? "", readJson<T>(value, key))
    }
    await each<StaleRecord>(keys.allStale(workspace), (entity, _, mark) => memory.stale.set(entity, mark))
    await each<BadRecord>(keys.allBad(workspace), (entity, hash, record) => set(memory.bad, entity, hash, record))
    await each<RejectedRecord>(keys.allRejected(workspace), (entity, hash, record) =>
      set(memory.rejected, entity, hash, record),
    )
    await memory.rows.load(store) // last: rows are joined with all of the above
    return memory
  }

  /** s since 1970 by the relay's clock, as far as we know it: what changes carry, and no row is shown to be ahead of. */
  seconds(): number {
    return Math.max(1, Math.floor((this.#clock.now() + this.state.ahead) / 1000))
  }

  /** The commit is on the disk: memory follows. */
  follow(tx: Transaction, rows: NewRows): Changed {
    this.state = tx.state
    this.fresh = false
    const joined = new Set<string>()
    for (const { owed } of tx.outbox.values()) joined.add(owed.entity)
    this.outbox.follow(tx.outbox)
    for (const [entity, mark] of tx.stale) {
      joined.add(entity)
      if (mark === undefined) this.stale.delete(entity)
      else this.stale.set(entity, mark)
    }
    for (const [entity, bad] of tx.bad) {
      for (const [hash, record] of bad) {
        set(this.bad, entity, hash, record)
        if (record !== undefined) this.#latest = entity
      }
    }
    for (const { entity, hash, record } of tx.rejected) {
      set(this.rejected, entity, hash, record)
      if (record !== undefined) this.#latest = entity
    }
    const changed = noChange()
    for (const [id, { collection, row }] of rows) {
      const was = this.rows.collectionOf(id) ?? collection
      if (was !== collection) this.rows.set(was, id, undefined, deltaOf(changed[tx.from(id)], was))
      this.rows.set(collection, id, row, deltaOf(changed[tx.from(id)], collection))
    }
    for (const id of joined) {
      const collection = rows.has(id) ? undefined : this.rows.collectionOf(id)
      if (collection !== undefined) this.rows.rejoin(collection, id, deltaOf(changed[tx.from(id)], collection))
    }
    return changed
  }

  /** What is set aside, the newest of it if that is still so: a change that the relay refused for good, or a bad one. */
  get setAside(): SetAside | undefined {
    const { rejected, bad } = this
    const latest = this.#latest
    const known = rejected.has(latest) || bad.has(latest) ? latest : undefined
    const entity = known ?? firstKey(rejected) ?? firstKey(bad)
    if (entity === undefined) return undefined
    const records = [...(rejected.get(entity) ?? bad.get(entity) ?? new Map()).values()]
    const record = records.findLast(({ code }) => code !== "DEPS_UNKNOWN") ?? records[0] // not what went along with it
    return { entity, record, refused: rejected.has(entity) }
  }

  /** Rows whose time was still to come when they were read or made show it once it has. */
  showDue(): Changed {
    const changed = noChange()
    this.rows.showDue((collection) => deltaOf(changed.relay, collection))
    return changed
  }

  /** Goes on from an older memory of the same disk: rows that look as they did are the same objects. */
  continue(before: Memory): Changed {
    const changed = noChange()
    this.rows.continue(before.rows, (collection) => deltaOf(changed.here, collection))
    return changed
  }
}

/** The rows that look different now, by collection: those that were only written to here, and the others. */
export type Changed = Readonly<Record<"here" | "relay", Map<string, RowDelta>>>

export const noChange = (): Changed => ({ here: new Map(), relay: new Map() })

function deltaOf(deltas: Map<string, RowDelta>, collection: string): RowDelta {
  let delta = deltas.get(collection)
  if (delta === undefined) deltas.set(collection, (delta = { added: [], changed: [], removed: [] }))
  return delta
}

const firstKey = <T>(map: ByHash<T>): string | undefined => map.keys().next().value

function set<T>(map: ByHash<T>, entity: string, hash: Hash, value: T | undefined): void {
  const inner = map.get(entity) ?? new Map<Hash, T>()
  if (value === undefined) inner.delete(hash)
  else inner.set(hash, value)
  if (inner.size === 0) map.delete(entity)
  else map.set(entity, inner)
}

/** Whatever a store throws, as the one error class. */
export function storeError(cause: unknown): HeadwaterError {
  if (cause instanceof HeadwaterError && cause.code.startsWith("STORE_")) return cause
  return new HeadwaterError("STORE_FAILED", "this device could not save it; what was saved before is untouched", {
    cause,
  })
}
