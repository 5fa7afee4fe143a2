/** Handles the relay's answers to pushes: acks and refusals. */

import type { Code } from "../../base/errors.ts"
import { hex } from "../../base/hash.ts"
import { listAt } from "../../base/maps.ts"
import type { Cursor, Hash } from "../../wire/protocol.ts"
import type { Owed } from "../disk/records.ts"
import type { ConnectionSteps } from "./connection-steps.ts"
import { further, placeOf } from "./log-places.ts"
import { changesOf, setAside } from "./set-aside.ts"

/**
 * Handles an ack: the relay has stored these changes, so their outbox records are removed. `at` moves the reach. Only
 * entries move the cursor.
 */
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
 * Handles a refusal for good: the change, and all changes that depend on it, move from the entity to the rejected list.
 * Resolves with false, with nothing done, when the change is no longer in the outbox, because it was acknowledged or
 * set aside meanwhile.
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
 * Handles the refusal `ACTOR_BOUND`: another principal owns the actor of the change. The outbox records of all changes
 * under this actor become `adopt` records. If it is the session actor, the session takes a new actor. Resolves with the
 * hashes of the changes whose records became `adopt` records.
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
