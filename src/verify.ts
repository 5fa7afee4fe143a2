import type { Change } from "./chunk.ts"
import type { Code } from "./errors.ts"
import type { Hash } from "./protocol.ts"

export interface Verdicts {
  /** Causally closed and in causal order, without the bad ones and what depends on them. */
  readonly order: readonly Change[]
  readonly bad: ReadonlyMap<Hash, Code>
  /** Their deps are not held. */
  readonly waiting: readonly Change[]
}

export declare function verdicts(entity: string, changes: readonly Change[], suspects: ReadonlySet<Hash>): Verdicts
export declare function causalOrder(changes: readonly Change[]): Change[]
export declare function headsOf(changes: readonly Change[]): Hash[]
export declare function ancestors(changes: readonly Change[], heads: readonly Hash[]): Set<Hash>
