/** Opens a replica, and begins its idle work. */
import type { Mended } from "../base/mended.ts"
import { projectionVersion } from "../document/projection.ts"
import { checkClock } from "./clock-set-back.ts"
import { type Defs, Known } from "./disk/records-in-memory.ts"
import { Idle } from "./idle-work.ts"
import { Replica, type ReplicaOptions } from "./replica.ts"

export interface OpenOptions extends ReplicaOptions {
  /** Called for each damaged record that was made again. */
  readonly onMended?: ((mended: Mended) => void) | undefined
}

/**
 * Opens a replica. It reads rows, outbox and state, but hydrates no document and needs no WebAssembly. Throws
 * `STORE_FORMAT`, `STORE_FAILED`.
 */
export async function openReplica(options: OpenOptions): Promise<Replica> {
  const all = Object.values(options.collections)
  const defs: Defs = new Map(all.map((def) => [def.name, def]))
  const projections = Object.fromEntries(all.map((def) => [def.name, projectionVersion(def)]))
  const known = await Known.read(options.store, options.id, defs, { ...options, projections })
  const replica = new Replica(options, defs, known)
  const idle = new Idle(replica)
  replica.whenIdle(idle)
  if (options.onMended !== undefined) idle.mended.add(options.onMended)
  // Before every group, the replica makes damaged records again, so an empty step is enough to do this. If the disk is
  // full, this fails, but the replica opens all the same: it shows the rows that can be read, and tries again before
  // each later group.
  if (replica.isDamaged) await replica.step([], () => {})
  await checkClock(replica)
  idle.projectAgain(projections)
  idle.judgeProbedBefore()
  idle.afterGroup()
  idle.watchStore()
  idle.foldEarlier()
  return replica
}
