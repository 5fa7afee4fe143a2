/** Finds the order, the heads and the ancestors of any set of an entity's changes, without Automerge. */

import { listAt } from "../../base/maps.ts"
import type { Change } from "../../wire/chunk.ts"
import type { Hash } from "../../wire/protocol.ts"

/**
 * Orders changes by the authors' clocks, the oldest first, and changes of the same time by hash. So the order is the
 * same on every replica.
 */
export const byTime = (a: Change, b: Change): number => a.time - b.time || (a.hash < b.hash ? -1 : 1)
const byStart = (a: Change, b: Change): number => a.startOp - b.startOp || (a.hash < b.hash ? -1 : 1)

/**
 * Orders changes so that each comes after all that it depends on. `before`: changes that count as ordered already.
 * Leaves out a change with a dep that is neither in `changes` nor in `before`, and every change that depends on such a
 * change. The same set of changes always has the same order: by startOp, then by hash, as far as the deps allow.
 */
export function causalOrder(changes: Iterable<Change>, before?: ReadonlyMap<Hash, Change>): Change[] {
  /** By hash of a change, how many of its deps are neither in `order` yet nor in `before`. */
  const missing = new Map<Hash, number>()
  /** By hash of a dep that is neither in `order` yet nor in `before`, the changes that wait for it. */
  const waiting = new Map<Hash, Change[]>()
  const given = new Map<Hash, Change>()
  for (const change of changes) given.set(change.hash, change)
  const order: Change[] = []
  const placed = new Set<Hash>()

  for (const change of [...given.values()].sort(byStart)) {
    const lacking = change.deps.filter((dep) => !placed.has(dep) && before?.has(dep) !== true)
    missing.set(change.hash, lacking.length)
    for (const dep of lacking) listAt(waiting, dep).push(change)
    // If no startOp is wrong, sorting has put the changes into causal order already. A wrong startOp can put a change
    // before its deps: then the change waits for them.
    const ready = lacking.length === 0 ? [change] : []
    for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
      order.push(next)
      placed.add(next.hash)
      for (const freed of waiting.get(next.hash) ?? []) {
        const left = (missing.get(freed.hash) ?? 0) - 1
        missing.set(freed.hash, left)
        if (left === 0) ready.push(freed)
      }
    }
  }
  return order
}

/** Returns the heads of these changes, sorted. */
export function headsOf(changes: Iterable<Change>): Hash[] {
  return nextHeads([], changes)
}

/** Returns the heads, sorted, that a document with these `heads` has after these changes are applied to it. */
export function nextHeads(heads: readonly Hash[], changes: Iterable<Change>): Hash[] {
  const next = new Set(heads)
  for (const { hash } of changes) next.add(hash)
  for (const { deps } of changes) for (const dep of deps) next.delete(dep)
  return [...next].sort()
}

/** Returns the hashes of those `heads` that are in `changes`, and of all their ancestors in `changes`. */
export function ancestors(changes: Iterable<Change>, heads: readonly Hash[]): Set<Hash> {
  const deps = new Map<Hash, readonly Hash[]>()
  for (const change of changes) deps.set(change.hash, change.deps)
  const found = new Set<Hash>()
  const open = [...heads]
  for (let hash = open.pop(); hash !== undefined; hash = open.pop()) {
    const below = deps.get(hash)
    if (below === undefined || found.has(hash)) continue
    found.add(hash)
    open.push(...below)
  }
  return found
}
