/**
 * The fallback exchange, used when the relay does not know this replica's cursor. This replica sends the heads that it
 * has (`have`). The relay answers with the heads that the relay has (`want`). From these the replica finds the changes
 * that the relay lacks.
 */
import { bytesOfHex } from "../../base/hash.ts"
import { ancestors, causalOrder, headsOf } from "../../document/history/graph.ts"
import type { Change } from "../../wire/chunk.ts"
import { type EntityHeads, type Hash, limits } from "../../wire/protocol.ts"
import { type Held, heldOf } from "../disk/change-record.ts"
import { type EntityHistory, histories, readChanges, readHistory } from "../disk/histories.ts"
import { keys, type RejectedChange, readCache } from "../disk/records.ts"
import type { Replica } from "../replica.ts"
import type { Transaction } from "../transaction.ts"
import type { ConnectionSteps } from "./connection-steps.ts"
import type { EntityHash } from "./receive-answers.ts"
import { changesOf } from "./set-aside.ts"

/**
 * Sets `state.heal`, because the relay does not know this replica's cursor. The state is saved before any later message
 * of this connection is handled. So a device that crashes during the heal begins the heal again.
 */
export function markHeal(steps: ConnectionSteps): Promise<void> {
  return steps.step([], (tx) => {
    if (!tx.state.heal) tx.state = { ...tx.state, heal: true }
  })
}

/**
 * The changes that a `have` covers, by entity. Has only the entities of which the `have` does not cover all changes.
 */
export type Covered = Map<string, ReadonlySet<Hash>>

/**
 * Notes in the marks of these entities which changes a `have` does not cover (`StaleRecord.unnamed`): they wait for
 * changes that this replica does not have, or could not be read. The marks are saved before the last page of the `have`
 * is sent. When the missing changes have arrived, the noted changes go into the outbox (`oweFreed`), because the relay
 * could not ask for them.
 */
export function noteUnnamed(steps: ConnectionSteps, covered: Covered): Promise<void> {
  const { replica } = steps
  return steps.step([], async (tx) => {
    const { damages } = tx.state
    for (const [entity, named] of covered) {
      // An entity has no mark here if the disk has damaged or lost a change that others wait for, and no reading has
      // noticed that yet.
      const mark = tx.staleOf(entity) ?? { suspects: [], waiting: false }
      // If a genesis or a text's container could not be read, `changesOf` makes it again. The `have` did not cover it.
      const held = await changesOf(replica, entity, tx)
      tx.markStale(entity, { ...mark, unnamed: [...held.keys()].filter((hash) => !named.has(hash)) })
    }
    // Damage that `changesOf` notices here needs no further heal: the `have` of this heal does not name the damaged
    // changes, so the relay sends them.
    if (tx.state.damages !== damages) tx.state = { ...tx.state, damages }
  })
}

/**
 * The result of one or more `want` messages. `again`: changes that the relay lacks; they are in the outbox now and are
 * pushed again, in causal order within an entity. `settled`: entities whose `want` is answered, not open.
 */
export interface Wanted {
  readonly again: readonly EntityHash[]
  readonly settled: readonly string[]
}

/**
 * Handles a `want`: puts the changes that the relay lacks into the outbox. If the want names a head that this replica
 * does not have, it is unknown which changes the relay lacks. Such a want stays open until that head arrives
 * (`settleWants`).
 */
export function receiveWant(steps: ConnectionSteps, page: readonly EntityHeads[]): Promise<Wanted> {
  return steps.step([], async (tx) => {
    const again: EntityHash[] = []
    const settled: string[] = []
    for (const [entity, heads] of page) {
      const lacking = await lackingOf(steps.replica, tx, entity, heads, false)
      if (lacking === undefined) steps.openWants.set(entity, heads)
      else {
        again.push(...lacking)
        settled.push(entity)
      }
    }
    return { again, settled }
  })
}

/**
 * Answers the open wants whose heads have arrived, in the transaction that adds the arrived changes. `all`: answers
 * every open want, because no more changes arrive now. A heal ends when its cursor is committed. That commit, or an
 * earlier commit, must put the changes that the relay lacks into the outbox.
 */
export async function settleWants(steps: ConnectionSteps, tx: Transaction, all: boolean): Promise<Wanted> {
  const again: EntityHash[] = []
  const settled: string[] = []
  for (const [entity, heads] of steps.openWants) {
    const lacking = await lackingOf(steps.replica, tx, entity, heads, all)
    if (lacking === undefined) continue
    again.push(...lacking)
    settled.push(entity)
  }
  tx.add({
    writes: [],
    done: () => {
      for (const entity of settled) steps.openWants.delete(entity)
    },
  })
  return { again, settled }
}

/**
 * Finds the changes of an entity that a relay with these heads lacks, puts them into the outbox, and returns them. If
 * this replica does not have one of the heads, does nothing and returns undefined; but if `forced`, ignores that head.
 */
async function lackingOf(
  replica: Replica,
  tx: Transaction,
  entity: string,
  heads: readonly Hash[],
  forced: boolean,
): Promise<EntityHash[] | undefined> {
  const held = await changesOf(replica, entity, tx)
  const aside = await asideOf(replica, tx, entity)
  if (!forced && !heads.every((head) => held.has(head) || aside.has(head))) return undefined
  const has = ancestors([...held.values(), ...aside.values()], heads)
  const lacking = causalOrder(held.values()).filter(({ hash }) => !has.has(hash))
  for (const change of lacking) replica.authorship.giveBack(entity, change, tx)
  return lacking.map(({ hash }) => [entity, hash])
}

/**
 * Reads the changes of an entity that are bad or on the rejected list; leaves out changes that cannot be read. The
 * relay may name such a change as a head, and then it also has the change's ancestors.
 */
async function asideOf(replica: Replica, tx: Transaction, entity: string): Promise<Map<Hash, Change>> {
  const aside = new Map<Hash, Change>()
  const add = (hash: Hash, held: Held | undefined) => held && aside.set(hash, held.change)
  const bad = [...tx.badOf(entity).keys()].map((hash) => ({ entity, hash }))
  const saved = await readChanges(replica.store, replica.id, bad)
  for (const { hash } of bad) add(hash, tx.held.get(entity)?.get(hash) ?? saved.get(hash))
  for (const hash of tx.rejectedOf(entity).keys()) {
    const key = keys.rejected(replica.id, entity, hash)
    const value = await replica.store.get(key) // undefined if this group, not committed yet, put the change on the list
    const record = value === undefined ? undefined : readCache<RejectedChange>(value, key, () => {})
    add(hash, record && heldOf(bytesOfHex(record.entry), hash))
  }
  return aside
}

/**
 * Yields the heads of every entity, or of one (`only`). An entity with more heads than a message may name is yielded
 * several times: if some heads were left out, the relay might never ask for a change that it lacks. Reads the change
 * records and pages in portions. The heads cover only changes of which this replica has all ancestors. Adds each entity
 * with other changes, or with records that cannot be read, to `covered`.
 */
export async function* haveOf(replica: Replica, only?: string, covered?: Covered): AsyncGenerator<EntityHeads> {
  const { store, id, sizes } = replica
  const all = only === undefined ? histories(store, id, sizes.haveRecords) : [await historyOf(replica, only)]
  for await (const { entity, held, unreadable } of all) {
    const bad = replica.bad.get(entity)
    const changes: Change[] = []
    for (const [hash, { change }] of held) if (!bad?.has(hash)) changes.push(change)
    const whole = causalOrder(changes)
    if (whole.length < changes.length || unreadable.some((hash) => !bad?.has(hash))) {
      covered?.set(entity, new Set(whole.map(({ hash }) => hash)))
    }
    if (changes.length === 0) continue
    // Leaves out the changes in the outbox: they are pushed anyway, and could make more heads than a `have` may name.
    const heads = headsOf(whole.filter(({ hash }) => replica.outbox.get(entity, hash) === undefined))
    for (let from = 0; from === 0 || from < heads.length; from += limits.heads) {
      yield [entity, heads.slice(from, from + limits.heads)]
    }
  }
}

const historyOf = async ({ store, id }: Replica, entity: string): Promise<EntityHistory> => ({
  entity,
  ...(await readHistory(store, id, entity)),
})
