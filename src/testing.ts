import { replicaOf } from "./app/workspace.ts"
import { haveOf } from "./replica/exchange/have-and-want.ts"

export { type Runner, type StoreFixture, storeConformance } from "./store/conformance.ts"
export { checkStore, type StoreStep } from "./store/model.ts"

/**
 * Returns the heads of every entity of a workspace on this device: hashes as hex, sorted. Replicas that hold the same
 * changes have equal heads. The heads are read from the change records; no document is opened.
 */
export async function headsOf(workspace: object): Promise<Record<string, readonly string[]>> {
  const heads: Record<string, readonly string[]> = {}
  for await (const [entity, hashes] of haveOf(replicaOf(workspace))) heads[entity] = [...hashes].sort()
  return heads
}
