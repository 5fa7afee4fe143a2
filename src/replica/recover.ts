/**
 * Records that the disk has damaged and that are made from changes: rows, pages, marks, verdicts, the outbox. They are found
 * when the workspace opens, and made again; until then the workspace does without them. The rejected list is not made from
 * anything: a damaged record of it stays on the disk as it is, for people.
 */
import type { Key } from "../store/store.ts"
import type { Hash } from "../wire/protocol.ts"
import { owedOf } from "./authorship.ts"
import { keys } from "./disk/records.ts"
import { heldOf } from "./held-change.ts"
import type { Replica } from "./replica.ts"
import type { Transaction } from "./transaction.ts"

/** Change records that one read takes. */
const AT_ONCE = 1000

/** Marks what must be made again; idle work makes it. Is the first step of a replica. */
export async function recover(replica: Replica, damaged: readonly Key[]): Promise<void> {
  await replica.step([], async (tx) => {
    for (const key of damaged) await recoverOne(replica, tx, key)
    if (damaged.some(([, kind]) => kind === "page")) await markRowless(replica, tx)
  })
}

async function recoverOne(replica: Replica, tx: Transaction, key: Key): Promise<void> {
  const [, kind, first = "", second = ""] = key
  switch (kind) {
    case "row":
      tx.put(key, undefined)
      return markStale(tx, second, [])
    case "page":
      return tx.put(key, undefined) // `markRowless` finds whose rows it had
    case "stale":
      return markStale(tx, first, await hashesOf(replica, first)) // any of them may be one whose verdict was open
    case "bad":
      tx.put(key, undefined)
      return markStale(tx, first, [second])
    case "out":
      return oweAgain(replica, tx, key)
    case "outpage":
      tx.put(key, undefined)
      tx.state = { ...tx.state, heal: true } // the relay asks for what it lacks
      return
    case "state":
      tx.state = { ...tx.state, heal: true }
  }
}

/** Adds suspects to an entity's mark, and has its row made again. */
function markStale(tx: Transaction, entity: string, hashes: readonly Hash[]): void {
  const { suspects = [], unnamed } = tx.staleOf(entity) ?? {}
  tx.markStale(entity, {
    suspects: [...new Set([...suspects, ...hashes])],
    waiting: false,
    ...(unnamed && { unnamed }),
  })
}

async function hashesOf(replica: Replica, entity: string): Promise<Hash[]> {
  return (await replica.store.list(keys.changesOf(replica.id, entity))).map(([key]) => key[3] ?? "")
}

/** The relay may have the change already: then it only acknowledges it once more. */
async function oweAgain(replica: Replica, tx: Transaction, key: Key): Promise<void> {
  const [, , entity = "", hash = ""] = key
  const value = await replica.store.get(keys.change(replica.id, entity, hash))
  const held = value instanceof Uint8Array ? heldOf(value, hash) : undefined
  if (held === undefined) tx.put(key, undefined)
  else tx.owe({ ...owedOf(entity, held.change), how: "own", principal: tx.state.principal, fields: [] })
}

/** Entities of which changes are held and no row is known. */
async function markRowless(replica: Replica, tx: Transaction): Promise<void> {
  let after: Key | undefined
  let last = ""
  for (;;) {
    const records = await replica.store.list(keys.changes(replica.id), { limit: AT_ONCE, ...(after && { after }) })
    for (const [key] of records) {
      after = key
      const entity = key[2] ?? ""
      if (entity === last) continue
      last = entity
      if (replica.rows.collectionOf(entity) === undefined && tx.staleOf(entity) === undefined) markStale(tx, entity, [])
    }
    if (records.length < AT_ONCE) return
  }
}
