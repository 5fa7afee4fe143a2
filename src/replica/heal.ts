/** The fallback exchange, when the relay does not know our cursor: what this replica has, and what the relay wants of it. */
import { ancestors, causalOrder, headsOf } from "../document/admission.ts"
import type { Change } from "../wire/chunk.ts"
import type { EntityHeads } from "../wire/protocol.ts"
import type { EntityHash } from "./answers.ts"
import type { Feed } from "./connection-steps.ts"
import { heldOf } from "./held.ts"
import { keys } from "./records.ts"
import type { Replica } from "./replica.ts"
import { changesOf } from "./set-aside.ts"

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
      const mark = tx.staleOf(entity)
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
      const sound = causalOrder([...(await replica.documents.held(entity, tx)).values()].map(({ change }) => change))
      const has = ancestors(sound, heads)
      for (const change of sound) {
        const { hash } = change
        if (has.has(hash)) continue
        again.push([entity, hash])
        replica.authorship.giveBack(entity, change, tx)
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
