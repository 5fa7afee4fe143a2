/** The relay's answers to pushes: acks and refusals. */

import type { Code } from "../base/errors.ts"
import { hex } from "../base/hash.ts"
import { listAt } from "../base/maps.ts"
import type { Cursor, Hash } from "../wire/protocol.ts"
import type { ConnectionSteps } from "./connection-steps.ts"
import type { Owed } from "./disk/records.ts"
import { further, placeOf } from "./log-places.ts"
import { changesOf, setAside } from "./set-aside.ts"

/** An ack: the relay has these changes on its disk, so they leave the outbox. It does not move the cursor; only entries do. */
export function receiveAck(
  steps: ConnectionSteps,
  stored: readonly EntityHash[],
  at: Cursor | undefined,
): Promise<void> {
  return steps.step([], (tx) => {
    for (const [entity, hash] of stored) {
      const owed = tx.owed(entity, hash)
      if (owed !== undefined) tx.removeOwed(owed)
    }
    if (at === undefined) return
    const reach = hex(further(placeOf(tx.state.reach), at))
    if (reach !== tx.state.reach) tx.state = { ...tx.state, reach }
  })
}

export type EntityHash = readonly [entity: string, hash: Hash]

/**
 * A refusal for good: the change and those that depend on it leave the entity for the rejected list. Resolves with false when
 * the change is no longer owed, because it was acknowledged or seen in the log meanwhile.
 */
export function receiveRefusal(steps: ConnectionSteps, entity: string, hash: Hash, code: Code): Promise<boolean> {
  const { replica } = steps
  return steps.step([entity], async (tx) => {
    if (tx.owed(entity, hash) === undefined) return false
    await setAside(replica, tx, entity, hash, code)
    return true
  })
}

/**
 * `ACTOR_BOUND`: another principal owns the change's actor. All owed changes of that actor are owed again, to be adopted, and
 * the session takes a fresh actor when it was its own. Resolves with the hashes of those changes; none when the refused one was
 * to be adopted already.
 */
export function receiveActorBound(steps: ConnectionSteps, entity: string, hash: Hash): Promise<Hash[]> {
  const { replica } = steps
  return steps.step([entity], async (tx) => {
    const bound = (await changesOf(replica, entity, tx)).get(hash)?.actor
    const again: Hash[] = []
    const byEntity = new Map<string, Owed[]>()
    for (const owed of tx.allOwed(replica.outbox)) if (owed.how !== "adopt") listAt(byEntity, owed.entity).push(owed)
    for (const [of, all] of byEntity) {
      const changes = await changesOf(replica, of, tx)
      for (const owed of all) {
        if (changes.get(owed.hash)?.actor !== bound) continue
        tx.owe({ ...owed, how: "adopt" })
        again.push(owed.hash)
      }
    }
    if (bound === replica.actor) replica.freshActor()
    return again
  })
}
