/**
 * What comes from the relay, each message as one step of the replica: entries, acks, refusals and the fallback exchange.
 */

import { type Code, HeadwaterError } from "../base/errors.ts"
import { bytesOfHex, hex, sha256 } from "../base/hash.ts"
import { ancestors, causalOrder, headsOf } from "../document/admission.ts"
import { automergeVersion } from "../document/entity.ts"
import { type Change, readChange } from "../wire/chunk.ts"
import {
  type Access,
  type Cursor,
  type EntityHeads,
  type Entry,
  encodeEntry,
  type Hash,
  type Item,
  position,
} from "../wire/protocol.ts"
import { keys, type State } from "./records.ts"
import type { Replica } from "./replica.ts"
import { entryOf, type Held, heldOf, type Transaction } from "./transaction.ts"

/**
 * The steps of one connection. Once one of them has failed none of the later ones takes effect: a cursor that ends a heal
 * must not be taken after what the relay wanted could not be.
 */
export class Feed {
  readonly replica: Replica
  #broken = false

  constructor(replica: Replica) {
    this.replica = replica
  }

  step<T>(entities: readonly string[], run: (tx: Transaction) => T | Promise<T>): Promise<T> {
    const step = this.replica.step(entities, async (tx) => {
      if (this.#broken)
        throw new HeadwaterError("STORE_FAILED", "an earlier message of this connection could not be handled")
      try {
        return await run(tx)
      } catch (error) {
        this.#broken = true
        throw error
      }
    })
    step.catch(() => {
      this.#broken = true // its commit failed
    })
    return step
  }
}

/** One or more `entries` messages, taken together. */
export interface Received {
  readonly items: readonly Item[]
  readonly cursor?: Cursor | undefined
  /** With the cursor that ends a heal: the furthest place learned of while it went on. */
  readonly healed?: { readonly reach: Cursor | null } | undefined
  readonly level: boolean
  readonly principal?: string | undefined
  readonly access?: Access | undefined
  /** ms by which the relay's clock is ahead of ours. */
  readonly ahead?: number | undefined
}

/** Takes entries and their cursor in one commit: the cursor never runs ahead of what is held. */
export function takeEntries(feed: Feed, received: Received): Promise<void> {
  const { replica } = feed
  return feed.step([], async (tx) => {
    for (const [entity, fresh] of freshChanges(replica, tx, received.items)) {
      tx.reach(entity)
      await settleClashes(replica, tx, entity, fresh)
      if (replica.documents.has(entity)) applyLive(replica, tx, entity, fresh)
      else markStale(replica, tx, entity, fresh)
    }
    const before = tx.state.principal
    tx.state = stateAfter(tx.state, received, replica.clock.now())
    // A session actor belongs to one principal.
    if (before !== null && tx.state.principal !== before) replica.freshActor()
  })
}

function stateAfter(state: State, received: Received, now: number): State {
  const next: { -readonly [K in keyof State]: State[K] } = { ...state }
  const { cursor, healed, level, principal, access, ahead } = received
  if (cursor !== undefined) {
    next.cursor = hex(cursor)
    if (healed !== undefined) {
      next.heal = false
      next.reach = healed.reach && hex(healed.reach)
    }
    next.reach = hex(further(placeOf(next.reach), cursor))
  }
  if (principal !== undefined) {
    next.principal = principal
    next.first ??= principal
  }
  if (access !== undefined) next.access = access
  if (ahead !== undefined) next.ahead = ahead
  if (level && !next.heal) {
    next.complete = true
    next.lastSyncedAt = now
  }
  const same = (Object.keys(next) as (keyof State)[]).every((key) => next[key] === state[key])
  return same ? state : next
}

/** The further of two places: a reach never goes back while the log is the same. */
export function further(reach: Cursor | null, at: Cursor): Cursor {
  return reach !== null && position(reach) > position(at) ? reach : at
}

/** As the state has it, for the wire. */
export const placeOf = (place: string | null): Cursor | null => (place === null ? null : bytesOfHex(place))

/** What of it this replica does not hold yet, as far as it can tell without reading the disk; held from here on. */
function freshChanges(replica: Replica, tx: Transaction, items: readonly Item[]): Map<string, Held[]> {
  const fresh = new Map<string, Held[]>()
  const entries = items.flatMap((item) => ("entry" in item ? [item.entry] : [])) // the others are runs of our own pushes
  for (const { kind, entity } of entries) {
    // Passing over it would leave the cursor behind something that is not held.
    if (kind !== "change")
      throw new HeadwaterError("PROTOCOL_VERSION", `this version cannot take a ${kind}`, { entity })
  }
  for (const entry of entries) {
    for (const chunk of entry.chunks) {
      const change = readOrSetAside(tx, entry, chunk)
      if (change === undefined) continue
      const { entity, collection, by, adopted, once } = entry
      if (replica.rejected.get(entity)?.has(change.hash)) tx.reject(entity, change.hash, undefined)
      if (isHeld(replica, tx, entity, change.hash)) continue
      const held: Held = { change, collection, by, adopted, once }
      if (!replica.exists(entity, tx)) tx.fresh.add(entity)
      tx.hold(entity, held)
      const list = fresh.get(entity)
      if (list === undefined) fresh.set(entity, [held])
      else list.push(held)
    }
  }
  return fresh
}

function isHeld(replica: Replica, tx: Transaction, entity: string, hash: Hash): boolean {
  return (
    replica.outbox.get(entity, hash) !== undefined ||
    replica.documents.get(entity)?.changes.has(hash) === true ||
    replica.bad.get(entity)?.has(hash) === true ||
    tx.held.get(entity)?.has(hash) === true
  )
}

/** A chunk that is not even a change is kept under the hash of its bytes, and nothing else waits for it. */
function readOrSetAside(tx: Transaction, entry: Entry, chunk: Uint8Array): Change | undefined {
  try {
    return readChange(chunk)
  } catch {
    const hash = sha256(chunk)
    tx.put(keys.change(tx.workspace, entry.entity, hash), encodeEntry({ ...entry, chunks: [chunk] }))
    tx.markBad(entry.entity, hash, { code: "CHUNK_BAD", automerge: "" })
    return undefined
  }
}

/** A logged change that clashes on (actor, seq) with one held outside the log wins: the log is what others see. */
async function settleClashes(replica: Replica, tx: Transaction, entity: string, fresh: readonly Held[]): Promise<void> {
  const owed = replica.outbox.of(entity)
  if (owed.length === 0) return
  const numbered = new Map(fresh.map(({ change }) => [`${change.actor}/${change.seq}`, change.hash]))
  const live = replica.documents.get(entity)?.changes
  const held = live ?? (await changesOf(replica, entity, tx))
  for (const { hash } of owed) {
    const change = held.get(hash)
    const logged = change && numbered.get(`${change.actor}/${change.seq}`)
    if (logged !== undefined && logged !== hash) await setAside(replica, tx, entity, hash, "SEQ_TAKEN")
  }
}

async function changesOf(replica: Replica, entity: string, tx: Transaction): Promise<Map<Hash, Change>> {
  const held = await replica.held(entity, tx)
  return new Map([...held].map(([hash, { change }]) => [hash, change]))
}

function applyLive(replica: Replica, tx: Transaction, entity: string, fresh: readonly Held[]): void {
  const live = replica.documents.get(entity)
  if (live === undefined) return markStale(replica, tx, entity, fresh)
  const arrived = new Map([...live.waiting, ...fresh].map((held) => [held.change, held]))
  const { order, bad, waiting } = live.admission.judge(arrived.keys())
  for (const [hash, code] of bad) tx.markBad(entity, hash, { code, automerge: automergeVersion() })
  try {
    live.entity.apply(order)
  } catch {
    replica.documents.drop(entity)
    return markStale(replica, tx, entity, [...arrived.values()])
  }
  for (const change of order) live.add(change, arrived.get(change)?.by)
  replica.oweFreed(entity, order, replica.staleOf(entity, tx)?.parked, tx)
  live.waiting = waiting.flatMap((change) => arrived.get(change) ?? [])
  if (live.waiting.length > 0) replica.markWaiting(tx, entity, live.waiting)
  tx.touched.add(entity)
}

/** A closed entity: its old row is shown until the projection comes to it. */
function markStale(replica: Replica, tx: Transaction, entity: string, fresh: readonly Held[]): void {
  const before = replica.staleOf(entity, tx)
  const suspects = new Set(before?.suspects)
  for (const { change } of fresh) suspects.add(change.hash)
  const { parked } = before ?? {}
  tx.markStale(entity, { suspects: [...suspects], waiting: false, ...(parked && { parked }) })
}

/** The relay has these on its disk: they leave the outbox. The cursor stays: only received entries move it. */
export function takeAck(feed: Feed, stored: readonly EntityHash[], at: Cursor | undefined): Promise<void> {
  const { replica } = feed
  return feed.step([], (tx) => {
    for (const [entity, hash] of stored) {
      const owed = replica.owed(entity, hash, tx)
      if (owed !== undefined) tx.pay(owed)
    }
    if (at === undefined) return
    const reach = hex(further(placeOf(tx.state.reach), at))
    if (reach !== tx.state.reach) tx.state = { ...tx.state, reach }
  })
}

export type EntityHash = readonly [entity: string, hash: Hash]

/** Refused for good: the change and what depends on it leave the entity for the rejected list. */
export function takeRefusal(feed: Feed, entity: string, hash: Hash, code: Code): Promise<boolean> {
  const { replica } = feed
  return feed.step([entity], async (tx) => {
    if (replica.owed(entity, hash, tx) === undefined) return false // late: acknowledged or seen in the log since
    await setAside(replica, tx, entity, hash, code)
    return true
  })
}

/** Another principal owns this actor: the same changes again as adopted ones, under a fresh actor from here on. */
export function takeActorBound(feed: Feed, entity: string, hash: Hash): Promise<Hash[]> {
  const { replica } = feed
  return feed.step([entity], async (tx) => {
    const bound = (await changesOf(replica, entity, tx)).get(hash)?.actor
    const again: Hash[] = []
    for (const of of replica.outbox.entities()) {
      const changes = await changesOf(replica, of, tx)
      for (const owed of replica.outbox.of(of)) {
        if (changes.get(owed.hash)?.actor !== bound) continue
        tx.owe({ ...owed, how: "adopt" })
        again.push(owed.hash)
      }
    }
    if (bound === replica.actor) replica.freshActor()
    return again
  })
}

async function setAside(replica: Replica, tx: Transaction, entity: string, hash: Hash, code: Code): Promise<void> {
  const held = await replica.held(entity, tx)
  const at = replica.clock.now()
  for (const gone of descendants(held, hash)) {
    const owed = replica.owed(entity, gone, tx)
    if (owed !== undefined) tx.pay(owed)
    const there = held.get(gone)
    // What is bad here too is not held, and stays where it is.
    const entry = there
      ? encodeEntry(entryOf(entity, there))
      : await replica.store.get(keys.change(replica.id, entity, gone))
    if (entry === undefined) continue
    tx.reject(entity, gone, { code: gone === hash ? code : "DEPS_UNKNOWN", at, entry: hex(entry as Uint8Array) })
    if (there) tx.drop(entity, gone)
  }
  judgeRivals(replica, tx, entity)
  replica.freshActor()
  tx.touched.add(entity)
  tx.reach(entity)
}

/** What was bad because another change had its place is judged again once one has gone. */
function judgeRivals(replica: Replica, tx: Transaction, entity: string): void {
  const rivals: Hash[] = []
  for (const [hash, record] of new Map([...(replica.bad.get(entity) ?? []), ...(tx.bad.get(entity) ?? [])])) {
    if (record?.code === "COLLECTION_MISMATCH" || record?.code === "SEQ_TAKEN") rivals.push(hash)
  }
  if (rivals.length === 0) return
  for (const hash of rivals) tx.markBad(entity, hash, undefined)
  const mark = replica.staleOf(entity, tx) ?? { suspects: [] }
  tx.markStale(entity, { ...mark, suspects: [...mark.suspects, ...rivals], waiting: false })
}

function descendants(held: ReadonlyMap<Hash, Held>, hash: Hash): Set<Hash> {
  const gone = new Set([hash])
  for (const change of causalOrder([...held.values()].map((h) => h.change))) {
    if (change.deps.some((dep) => gone.has(dep))) gone.add(change.hash)
  }
  return gone
}

// ── heal ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The relay does not know our cursor. Durable before anything later is handled: a crash in mid-heal must not forget it. */
export function markHeal(feed: Feed): Promise<void> {
  return feed.step([], (tx) => {
    if (!tx.state.heal) tx.state = { ...tx.state, heal: true }
  })
}

/**
 * What a have does not name of these entities, because it waits for changes that are not here: noted before the have is
 * whole. Those come with the heal, perhaps, and then the relay is owed what has waited: it never asked for it.
 */
export function park(feed: Feed, entities: Iterable<string>): Promise<void> {
  const { replica } = feed
  return feed.step([], async (tx) => {
    for (const entity of entities) {
      const mark = replica.staleOf(entity, tx)
      if (mark === undefined) continue
      const held = await changesOf(replica, entity, tx)
      for (const { hash } of causalOrder(held.values())) held.delete(hash)
      tx.markStale(entity, { ...mark, parked: [...held.keys()] })
    }
  })
}

/**
 * What the relay lacks becomes outbox records. Returns all that it lacks: it is pushed again, in causal order.
 */
export function takeWant(feed: Feed, page: readonly EntityHeads[]): Promise<EntityHash[]> {
  const { replica } = feed
  return feed.step([], async (tx) => {
    const again: EntityHash[] = []
    for (const [entity, heads] of page) {
      const sound = causalOrder([...(await replica.held(entity, tx)).values()].map(({ change }) => change))
      const has = ancestors(sound, heads)
      for (const change of sound) {
        const { hash } = change
        if (has.has(hash)) continue
        again.push([entity, hash])
        replica.giveBack(entity, change, tx)
      }
    }
    return again
  })
}

/**
 * The heads of every entity, read from the change records, a bounded number of records at a time. They name all that is
 * whole; what waits for a change that is not here goes into `parked`.
 */
export async function* haveOf(replica: Replica, only?: string, parked?: Set<string>): AsyncGenerator<EntityHeads> {
  const heads = (): EntityHeads => {
    const whole = causalOrder(changes)
    if (whole.length < changes.length) parked?.add(entity)
    // What is owed comes anyway; with it there might be more heads than the wire takes.
    return [entity, headsOf(whole.filter(({ hash }) => replica.outbox.get(entity, hash) === undefined))]
  }
  const prefix = only === undefined ? keys.changes(replica.id) : keys.changesOf(replica.id, only)
  let entity = ""
  let changes: Change[] = []
  let after: readonly string[] | undefined
  const limit = replica.sizes.haveRecords
  for (;;) {
    const records = await replica.store.list(prefix, { limit, ...(after && { after }) })
    for (const [key, value] of records) {
      after = key
      const [, , of = "", hash = ""] = key
      if (of !== entity) {
        if (changes.length > 0) yield heads()
        entity = of
        changes = []
      }
      if (replica.bad.get(of)?.has(hash)) continue
      const held = heldOf(value as Uint8Array, hash)
      if (held !== undefined) changes.push(held.change)
    }
    if (records.length < limit) break
  }
  if (changes.length > 0) yield heads()
}
