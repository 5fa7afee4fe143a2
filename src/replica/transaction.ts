/**
 * What one group of steps is about to commit: the writes, and what memory will believe once they are on the disk. Steps of
 * a group see each other through it; nothing outside the replica sees any of it before the commit.
 */

import type { Value, Write } from "../store/store.ts"
import { type Change, readChange } from "../wire/chunk.ts"
import { decodeEntry, type Entry, encodeEntry, type Hash } from "../wire/protocol.ts"
import type { OutboxChanges } from "./outbox.ts"
import { type BadRecord, keys, type Owed, type RejectedRecord, type StaleRecord, type State } from "./records.ts"

/** A change with what the log said of it. */
export interface Held {
  readonly change: Change
  readonly collection: string
  readonly by?: string | undefined
  readonly adopted?: true | undefined
  readonly once?: Uint8Array | undefined
}

export class Transaction {
  readonly writes: Write[] = []
  state: State
  /** Entities whose row is made again at the end of the group. */
  readonly touched = new Set<string>()
  readonly held = new Map<string, Map<Hash, Held>>()
  /** Entities of which nothing was held before. */
  readonly fresh = new Set<string>()
  readonly dropped = new Map<string, Set<Hash>>()
  /** How often something was held or dropped so far. */
  moves = 0
  readonly stale = new Map<string, StaleRecord | undefined>()
  /** undefined: to be judged again. */
  readonly bad = new Map<string, Map<Hash, BadRecord | undefined>>()
  /** What becomes of outbox records; one group may pay a change and be asked for it again. */
  readonly outbox: OutboxChanges = new Map()
  readonly rejected: { entity: string; hash: Hash; record: RejectedRecord | undefined }[] = []
  /** Entities that were written to here, and those that something came to from elsewhere. */
  readonly #written = new Set<string>()
  readonly #reached = new Set<string>()
  readonly workspace: string
  readonly #before: State

  constructor(w: string, state: State) {
    this.workspace = w
    this.state = state
    this.#before = state
  }

  /** Its row is made again: it was written to here. */
  write(entity: string): void {
    this.touched.add(entity)
    this.#written.add(entity)
  }

  /** Something came to it from elsewhere. */
  reach(entity: string): void {
    this.#reached.add(entity)
  }

  /** What subscribers are told of a row that looks different now. */
  from(entity: string): "here" | "relay" {
    return this.#written.has(entity) && !this.#reached.has(entity) ? "here" : "relay"
  }

  hold(entity: string, held: Held): void {
    this.moves++
    const { change } = held
    this.put(keys.change(this.workspace, entity, change.hash), encodeEntry(entryOf(entity, held)))
    let heldOf = this.held.get(entity)
    if (heldOf === undefined) this.held.set(entity, (heldOf = new Map()))
    heldOf.set(change.hash, held)
    this.dropped.get(entity)?.delete(change.hash)
  }

  drop(entity: string, hash: Hash): void {
    this.moves++
    this.put(keys.change(this.workspace, entity, hash), undefined)
    this.held.get(entity)?.delete(hash)
    let dropped = this.dropped.get(entity)
    if (dropped === undefined) this.dropped.set(entity, (dropped = new Set()))
    dropped.add(hash)
  }

  owe(owed: Owed): void {
    this.outbox.set(owed.hash, { owed, paid: false })
  }

  pay(owed: Owed): void {
    this.outbox.set(owed.hash, { owed, paid: true })
  }

  markStale(entity: string, record: StaleRecord | undefined): void {
    this.put(keys.stale(this.workspace, entity), record && JSON.stringify(record))
    this.stale.set(entity, record)
  }

  /** `record` undefined: it is no longer known to be bad. */
  markBad(entity: string, hash: Hash, record: BadRecord | undefined): void {
    this.put(keys.bad(this.workspace, entity, hash), record && JSON.stringify(record))
    let bad = this.bad.get(entity)
    if (bad === undefined) this.bad.set(entity, (bad = new Map()))
    bad.set(hash, record)
  }

  reject(entity: string, hash: Hash, record: RejectedRecord | undefined): void {
    this.put(keys.rejected(this.workspace, entity, hash), record && JSON.stringify(record))
    this.rejected.push({ entity, hash, record })
  }

  /** All writes, with the state if it has changed or was never saved. */
  finish(outbox: readonly Write[], fresh: boolean): readonly Write[] {
    for (const write of outbox) this.writes.push(write)
    if (this.state !== this.#before || (fresh && this.writes.length > 0)) {
      this.put(keys.state(this.workspace), JSON.stringify(this.state))
    }
    return this.writes
  }

  put(key: Write[0], value: Value | undefined): void {
    this.writes.push([key, value])
  }
}

/** As it is kept on the disk. */
export function entryOf(entity: string, { change, collection, by, adopted, once }: Held): Entry {
  return {
    entity,
    collection,
    kind: "change",
    chunks: [change.chunk],
    ...(by !== undefined && { by }),
    ...(adopted && { adopted }),
    ...(once && { once }),
  }
}

/** And back; undefined when the disk has damaged it: as good as not held. */
export function heldOf(value: Uint8Array, hash: Hash): Held | undefined {
  try {
    const { chunks, collection, by, adopted, once } = decodeEntry(value)
    const change = readChange(chunks[0] as Uint8Array)
    return change.hash === hash ? { change, collection, by, adopted, once } : undefined
  } catch {
    return undefined
  }
}
