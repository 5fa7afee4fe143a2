/** Receives entries from the relay: commits their changes, and the cursor after the entries, in one step. */
import { HeadwaterError } from "../../base/errors.ts"
import { hex, sha256 } from "../../base/hash.ts"
import { Turns } from "../../base/turns.ts"
import type { Verdicts } from "../../document/admission.ts"
import type { Change } from "../../wire/chunk.ts"
import {
  type Access,
  type Cursor,
  type Entry,
  encodeSaved,
  type Hash,
  type Item,
  type Word,
} from "../../wire/protocol.ts"
import { changeAt } from "../../wire/received-chunks.ts"
import type { Held } from "../disk/change-record.ts"
import { keys, type State } from "../disk/records.ts"
import { markVerdicts, markWaiting, oweFreed } from "../live-documents.ts"
import type { Replica } from "../replica.ts"
import type { Transaction } from "../transaction.ts"
import type { ConnectionSteps } from "./connection-steps.ts"
import { settleWants, type Wanted } from "./have-and-want.ts"
import { further, placeOf } from "./log-places.ts"
import { changesOf, setAside } from "./set-aside.ts"

/** One or more `entries` messages, received together. */
export interface Received {
  readonly items: readonly Item[]
  readonly cursor?: Cursor | undefined
  /**
   * Present with the cursor that ends a heal. `reach`: the furthest place in the log that this replica learned of in
   * the heal. `damages`: `State.damages` when the heal began.
   */
  readonly healed?: { readonly reach: Cursor | null; readonly damages: number } | undefined
  /** Whether the connection is level after these entries. */
  readonly level: boolean
  readonly principal?: string | undefined
  readonly access?: Word<Access> | undefined
  /**
   * Present when the relay has sent its time: how many ms its clock is ahead of this device's clock, and this device's
   * time of the measurement.
   */
  readonly clock?: Pick<State, "clockAheadMs" | "clockMeasuredAt"> | undefined
}

/** The result of received entries, once they are committed. */
export interface Committed extends Wanted {
  /** How long it took to apply the changes to live documents, ms. */
  readonly applyingMs: number
}

/**
 * Commits entries together with their cursor, so that the saved cursor is never ahead of the saved entries. If the
 * connection has ended before this step begins, its entries are dropped, and the next connection brings them again.
 * Otherwise they could set `State.principal` to the principal of the ended connection while another principal is
 * connected. Unsent changes of the first principal would then be pushed under the account of the second.
 */
export function receiveEntries(steps: ConnectionSteps, received: Received): Promise<Committed> {
  const { replica } = steps
  return steps.step([], async (tx) => {
    if (steps.ended) return { again: [], settled: [], applyingMs: 0 }
    let applyingMs = 0
    for (const [entity, fresh] of await freshChanges(replica, tx, received.items)) {
      tx.arrive(entity)
      await settleClashes(replica, tx, entity, fresh)
      const begun = replica.clock.now()
      if (replica.documents.has(entity)) applyLive(replica, tx, entity, fresh)
      else markStale(tx, entity, fresh)
      applyingMs += Math.max(0, replica.clock.now() - begun)
    }
    const before = tx.state.principal
    tx.state = stateAfter(tx.state, received, replica.clock.now())
    const wanted = await settleWants(steps, tx, received.level || received.healed !== undefined)
    const { items, level } = received
    if (items.length > 0 || level)
      tx.add({ writes: [], done: () => replica.expectEntries(!level && steps.expectsMore) })
    if (before !== null && tx.state.principal !== before) changeAuthor(replica, tx)
    return { ...wanted, applyingMs }
  })
}

/**
 * Call when another principal is connected than before. A session actor belongs to one principal, so the session takes
 * a new actor. Outbox records with `again` become `adopt` records, because the earlier principal made their changes.
 */
function changeAuthor(replica: Replica, tx: Transaction): void {
  replica.freshActor()
  for (const owed of tx.allOwed(replica.outbox)) if (owed.how === "again") tx.owe({ ...owed, how: "adopt" })
}

function stateAfter(state: State, received: Received, now: number): State {
  const { cursor, healed, level, principal, access, clock } = received
  const next: { -readonly [K in keyof State]: State[K] } = { ...state, ...clock }
  if (cursor !== undefined) {
    next.cursor = hex(cursor)
    if (healed !== undefined) {
      next.heal = next.damages !== healed.damages
      next.reach = healed.reach && hex(healed.reach)
    }
    next.reach = hex(further(placeOf(next.reach), cursor))
  }
  if (principal !== undefined) {
    next.principal = principal
    next.firstPrincipal ??= principal
  }
  if (access !== undefined) next.access = knownAccess(access)
  if (level && !next.heal) {
    next.complete = true
    next.lastSyncedAt = now
  }
  const same = (Object.keys(next) as (keyof State)[]).every((key) => next[key] === state[key])
  return same ? state : next
}

function knownAccess(access: Word<Access>): Access {
  const known = (["read", "write", "admin"] as const).find((word) => word === access)
  if (known !== undefined) return known
  const message = `the relay grants access "${access}", which this version does not know; update the app`
  throw new HeadwaterError("PROTOCOL_VERSION", message)
}

/**
 * Adds the changes of these entries to the transaction. Leaves out changes that this replica certainly has (`isHeld`),
 * and changes that are known to be bad. Returns the added changes by entity.
 */
async function freshChanges(
  replica: Replica,
  tx: Transaction,
  items: readonly Item[],
): Promise<ReadonlyMap<string, Held[]>> {
  const fresh = new Map<string, Held[]>()
  // An item that is not an entry names changes that this replica has pushed itself, so it brings no bytes.
  const entries = items.flatMap((item) => ("entry" in item ? [item.entry] : []))
  for (const { kind, entity } of entries) {
    // The entry must not be skipped: the cursor would move past the entry, and this replica would never get it again.
    if (kind !== "change")
      throw new HeadwaterError(
        "PROTOCOL_VERSION",
        `the relay sent an entry of kind ${kind}, which this version cannot read; update the app`,
        { entity },
      )
  }
  const turns = new Turns(replica.clock, replica.sizes.readBytes)
  for (const entry of entries) {
    for (const index of entry.chunks.keys()) {
      const change = readOrSetAside(tx, entry, index)
      if (change === undefined) continue
      const pause = turns.worked(change.chunk.length)
      if (pause !== undefined) await pause
      const { entity, collection, by, adopted, once } = entry
      if (tx.isRejected(entity, change.hash)) tx.reject(entity, change.hash, undefined)
      if (isHeld(replica, tx, entity, change.hash)) continue
      const bad = tx.badOf(entity).get(change.hash)
      if (bad !== undefined && !bad.damaged) continue
      const held: Held = { change, collection, by, adopted, once }
      tx.receive(entity, held)
      const list = fresh.get(entity)
      if (list === undefined) fresh.set(entity, [held])
      else list.push(held)
    }
  }
  return fresh
}

/**
 * Whether this replica certainly has the bytes of a change: in a live document, received in this group, or made lately
 * in this session. Any other change is written again even if it is on the disk: its record may be damaged, and the
 * bytes that have arrived are not. A change whose record is known to be damaged is always written again.
 */
function isHeld(replica: Replica, tx: Transaction, entity: string, hash: Hash): boolean {
  if (tx.badOf(entity).get(hash)?.damaged) return false
  if (tx.held.get(entity)?.has(hash)) return true
  // In a heal, the relay sends a change because the disk may have damaged or lost its record since this session made it.
  if (replica.wasMadeLately(hash) && !tx.state.heal) return true
  return replica.documents.get(entity)?.changes.has(hash) === true
}

/**
 * Reads the change in one chunk of an entry. A chunk that is not a change is saved as bad under the hash of its bytes;
 * no other change can depend on it.
 */
function readOrSetAside(tx: Transaction, entry: Entry, index: number): Change | undefined {
  try {
    return changeAt(entry.chunks, index)
  } catch (error) {
    if (!(error instanceof HeadwaterError)) throw error
    const chunk = entry.chunks[index] as Uint8Array
    const hash = sha256(chunk)
    tx.put(keys.change(tx.workspace, entry.entity, hash), encodeSaved({ ...entry, chunks: [chunk] }))
    tx.markBad(entry.entity, hash, { code: "CHUNK_BAD", automerge: "" })
    return undefined
  }
}

/**
 * Sets a change in the outbox aside when the log has another change with the same (actor, seq). Other replicas have the
 * change in the log already, and a document can have only one of the two.
 */
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

function applyLive(replica: Replica, tx: Transaction, entity: string, fresh: readonly Held[]): void {
  const live = replica.documents.get(entity)
  if (live === undefined) return markStale(tx, entity, fresh)
  tx.touchDocument(entity)
  const arrived = new Map([...live.waiting, ...fresh].map((held) => [held.change, held]))
  let verdicts: Verdicts
  try {
    verdicts = live.entity.receive(arrived.keys())
  } catch {
    replica.documents.drop(entity)
    return markStale(tx, entity, [...arrived.values()])
  }
  const { order, bad, waiting } = verdicts
  markVerdicts(entity, bad, tx)
  for (const change of order) live.add(arrived.get(change) as Held)
  oweFreed(replica.authorship, entity, order, tx.staleOf(entity)?.unnamed, tx)
  live.waiting = waiting.flatMap((change) => arrived.get(change) ?? [])
  if (live.waiting.length > 0) markWaiting(tx, entity, live.waiting)
  tx.touch(entity)
}

/** Marks an entity without a live document as stale. Its old row is shown until idle work projects the entity. */
function markStale(tx: Transaction, entity: string, fresh: readonly Held[]): void {
  const before = tx.staleOf(entity)
  const suspects = new Set(before?.suspects)
  for (const { change } of fresh) suspects.add(change.hash)
  const { unnamed } = before ?? {}
  tx.markStale(entity, { suspects: [...suspects], waiting: false, ...(unnamed && { unnamed }) })
}
