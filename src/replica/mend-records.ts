/**
 * Makes damaged records again from changes: rows, pages of rows, marks, verdicts, outbox records. The replica finds the
 * damage when the workspace opens, or when it reads everything again.
 *
 * A damaged page of outbox records is removed. Changes do not show whether the relay has them, so a heal follows, in
 * which the relay asks for the changes that it lacks. A damaged record of the rejected list cannot be made again. It
 * stays on the disk for people to inspect.
 */
import type { Mended } from "../base/mended.ts"
import type { Key } from "../store/store.ts"
import type { Hash } from "../wire/protocol.ts"
import { owedOf } from "./authorship.ts"
import { readChanges, readHistory } from "./disk/histories.ts"
import { isOurs } from "./disk/outbox-principal.ts"
import { keys, withDamage } from "./disk/records.ts"
import type { Replica } from "./replica.ts"
import type { Transaction } from "./transaction.ts"

/** Returns the notice for the app about the record with this key. */
export function mendedOf([, kind, first, second]: Key): Mended {
  const entity = kind === "row" ? second : kind === "stale" || kind === "bad" || kind === "out" ? first : undefined
  return { record: kind as Mended["record"], ...(entity !== undefined && { entity }) }
}

/** How many records of changes, or pages of histories, one `list` reads. */
const AT_ONCE = 200

/**
 * Makes damaged records again. For damaged rows it only marks the entities as stale; idle work makes the rows. No other
 * step commits before this transaction.
 */
export async function mendRecords(replica: Replica, tx: Transaction, damaged: readonly Key[]): Promise<void> {
  for (const key of damaged) await mendRecord(replica, tx, key)
  if (damaged.some(([, kind]) => kind === "page")) await markRowless(replica, tx)
}

async function mendRecord(replica: Replica, tx: Transaction, key: Key): Promise<void> {
  const [, kind, first = "", second = ""] = key
  switch (kind) {
    case "row":
      tx.put(key, undefined)
      return markStale(tx, second, [])
    case "page":
      return tx.put(key, undefined) // `markRowless` finds the entities whose rows were in it
    case "stale":
      return markStale(tx, first, await hashesOf(replica, first)) // any change may have been a suspect
    case "bad":
      tx.put(key, undefined)
      return markStale(tx, first, [second])
    case "out":
      return oweAgain(replica, tx, key)
    case "outpage":
      tx.put(key, undefined)
      tx.state = withDamage(tx.state) // in a heal the relay asks for the changes that it lacks
      return
    case "state":
      tx.state = withDamage(tx.state)
      return
    case "commit":
      tx.state = { ...tx.state } // so that there is something to commit: each commit writes a new commit record
  }
}

/** Adds suspects to an entity's mark, and marks the entity's row to be made again. */
function markStale(tx: Transaction, entity: string, hashes: readonly Hash[]): void {
  const { suspects = [], unnamed } = tx.staleOf(entity) ?? {}
  tx.markStale(entity, {
    suspects: [...new Set([...suspects, ...hashes])],
    waiting: false,
    ...(unnamed && { unnamed }),
  })
}

async function hashesOf(replica: Replica, entity: string): Promise<Hash[]> {
  const { held, unreadable } = await readHistory(replica.store, replica.id, entity)
  return [...held.keys(), ...unreadable]
}

/**
 * Makes the outbox record of a change again. If the relay has the change already, it acknowledges the change once more.
 */
async function oweAgain(replica: Replica, tx: Transaction, key: Key): Promise<void> {
  const [, , entity = "", hash = ""] = key
  const held = (await readChanges(replica.store, replica.id, [{ entity, hash }])).get(hash)
  if (held === undefined) {
    // The disk has no change with this hash. Perhaps the disk has damaged the hash in the key of this outbox record.
    // Then the outbox record of some other change is lost. In a heal the relay asks for that change.
    tx.put(key, undefined)
    tx.state = withDamage(tx.state)
    return
  }
  const principal = held.by ?? null
  // A change of a principal other than the present one is pushed with `adopt`, in the name of its author.
  const how = isOurs({ principal, how: "own" }, tx.state) ? "own" : "adopt"
  tx.owe({ ...owedOf(entity, held.change), how, principal, fields: [] })
}

/** Marks the entities that have changes on the disk but no row and no mark. */
async function markRowless(replica: Replica, tx: Transaction): Promise<void> {
  for (const prefix of [keys.changes(replica.id), keys.histories(replica.id)]) {
    let after: Key | undefined
    let last = ""
    for (;;) {
      const records = await replica.store.list(prefix, { limit: AT_ONCE, ...(after && { after }) })
      for (const [key] of records) {
        after = key
        const entity = key[2] ?? ""
        if (entity === last) continue
        last = entity
        const isThere = replica.rows.collectionOf(entity) !== undefined || tx.staleOf(entity) !== undefined
        if (!isThere) markStale(tx, entity, [])
      }
      if (records.length < AT_ONCE) break
    }
  }
}
