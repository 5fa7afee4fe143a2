/** Opens a replica, and sets its idle work. */
import { projectionVersion } from "../document/projection.ts"
import { type Defs, Known } from "./disk/records-in-memory.ts"
import { Idle } from "./idle.ts"
import { recover } from "./recover.ts"
import { Replica, type ReplicaOptions } from "./replica.ts"

/**
 * Opens a replica. It reads rows, outbox and state, but hydrates no document and needs no WebAssembly. Throws
 * `STORE_FORMAT`, `STORE_FAILED`.
 */
export async function openReplica(options: ReplicaOptions): Promise<Replica> {
  const all = Object.values(options.collections)
  const defs: Defs = new Map(all.map((def) => [def.name, def]))
  const projections = Object.fromEntries(all.map((def) => [def.name, projectionVersion(def)]))
  const known = await Known.read(options.store, options.id, defs, { ...options, projections })
  const replica = new Replica(options, defs, known)
  const idle = new Idle(replica)
  replica.whenIdle(idle)
  try {
    if (known.damaged.length > 0) await recover(replica, known.damaged)
  } catch (error) {
    // Nobody else will close this replica. Left open, it would try the disk again in 5 s, beside the next replica.
    await replica.close({ quickly: true })
    throw error
  }
  idle.projectAgain(projections)
  idle.judgeProbedBefore()
  idle.afterGroup()
  idle.watchStore()
  return replica
}
