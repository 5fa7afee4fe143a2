/** The relay's answers to pushes: acks and refusals. */

import type { Code } from "../base/errors.ts"
import { hex } from "../base/hash.ts"
import type { Cursor, Hash } from "../wire/protocol.ts"
import type { Feed } from "./connection-steps.ts"
import { further, placeOf } from "./places.ts"
import { changesOf, setAside } from "./set-aside.ts"

/** The relay has these on its disk: they leave the outbox. The cursor stays: only received entries move it. */
export function takeAck(feed: Feed, stored: readonly EntityHash[], at: Cursor | undefined): Promise<void> {
  return feed.step([], (tx) => {
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

/** Refused for good: the change and what depends on it leave the entity for the rejected list. */
export function takeRefusal(feed: Feed, entity: string, hash: Hash, code: Code): Promise<boolean> {
  const { replica } = feed
  return feed.step([entity], async (tx) => {
    if (tx.owed(entity, hash) === undefined) return false // late: acknowledged or seen in the log since
    await setAside(replica, tx, entity, hash, code)
    return true
  })
}

/** Another principal owns this actor: the same changes again as adopted ones, under a fresh actor from here on. */
export function takeActorBound(feed: Feed, entity: string, hash: Hash): Promise<Hash[]> {
  const { replica } = feed
  return feed.step([entity], async (tx) => {
    const bound = (await changesOf(replica, entity, tx)).get(hash)?.actor
    const again: Hash[] = []
    for (const of of replica.outbox.entities()) {
      const changes = await changesOf(replica, of, tx)
      for (const owed of replica.outbox.of(of)) {
        if (changes.get(owed.hash)?.actor !== bound) continue
        tx.owe({ ...owed, how: "adopt" })
        again.push(owed.hash)
      }
    }
    if (bound === replica.actor) replica.freshActor()
    return again
  })
}
