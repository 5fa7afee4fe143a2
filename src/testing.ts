import { replicaOf } from "./app/workspace.ts"
import { haveOf } from "./replica/exchange/have-and-want.ts"

export { type LiveTextFixture, liveTextConformance } from "./app/live-text-conformance.ts"
export { type Runner, type StoreFixture, storeConformance } from "./store/conformance.ts"
export { checkStore, type StoreStep } from "./store/model.ts"

/**
 * Returns the heads of every entity in a workspace on this device, by entity id: hashes as hex, sorted. Changes in the
 * outbox do not count. So two replicas have equal heads when they have the same changes and empty outboxes. Hydrates no
 * document.
 */
export async function headsOf(workspace: object): Promise<Record<string, readonly string[]>> {
  const heads: Record<string, readonly string[]> = {}
  for await (const [entity, part] of haveOf(replicaOf(workspace))) {
    heads[entity] = [...(heads[entity] ?? []), ...part].sort() // an entity with many heads comes in several parts
  }
  return heads
}
