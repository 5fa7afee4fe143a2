/** The fallback exchange, when the relay does not know our cursor: what this replica has, and what the relay wants of it. */
import { ancestors, causalOrder, headsOf } from "../document/graph.ts"
import type { Change } from "../wire/chunk.ts"
import type { EntityHeads } from "../wire/protocol.ts"
import type { EntityHash } from "./answers.ts"
import type { ConnectionSteps } from "./connection-steps.ts"
import { heldOf } from "./held.ts"
import { keys } from "./records.ts"
import type { Replica } from "./replica.ts"
import { changesOf } from "./set-aside.ts"

/**
 * Notes that the relay does not know our cursor. The note is durable before any later message of the connection is handled:
 * a device that crashes in the middle of a heal must heal again.
 */
export function markHeal(steps: ConnectionSteps): Promise<void> {
  return steps.step([], (tx) => {
    if (!tx.state.heal) tx.state = { ...tx.state, heal: true }
  })
}

/**
 * Notes which changes of these entities a `have` does not name, because they wait for changes that are not held. The note is
 * durable before the last page of the `have` is sent: when the heal brings what they wait for, the relay is owed them, too,
 * for it never asked for them (`oweFreed`).
 */
export function noteUnnamed(steps: ConnectionSteps, entities: Iterable<string>): Promise<void> {
  const { replica } = steps
  return steps.step([], async (tx) => {
    for (const entity of entities) {
      const mark = tx.staleOf(entity)
      if (mark === undefined) continue
      const held = await changesOf(replica, entity, tx)
      for (const { hash } of causalOrder(held.values())) held.delete(hash)
      tx.markStale(entity, { ...mark, unnamed: [...held.keys()] })
    }
  })
}

/** A `want`: changes that the relay lacks become owed. Resolves with all that it lacks, in causal order: they are pushed again. */
export function receiveWant(steps: ConnectionSteps, page: readonly EntityHeads[]): Promise<EntityHash[]> {
  const { replica } = steps
  return steps.step([], async (tx) => {
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
 * The heads of every entity, or of one (`only`), read from the change records, some at a time. Heads name changes whose
 * dependencies are all held; an entity with others is added to `unnamed`.
 */
export async function* haveOf(replica: Replica, only?: string, unnamed?: Set<string>): AsyncGenerator<EntityHeads> {
  const heads = (): EntityHeads => {
    const whole = causalOrder(changes)
    if (whole.length < changes.length) unnamed?.add(entity)
    // What is owed is pushed anyway; with it there could be more heads than a `have` may name.
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
