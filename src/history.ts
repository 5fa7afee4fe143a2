/** The graph of an entity's changes, without Automerge: which rest on which. */
import type { Change } from "./chunk.ts"
import type { Hash } from "./protocol.ts"

const byStart = (a: Change, b: Change): number => a.startOp - b.startOp || (a.hash < b.hash ? -1 : 1)

/**
 * Everything after what it rests on, each once; what rests on a change that is not given is left out. The order is a
 * function of the set: by startOp, then by hash, as far as the deps allow.
 */
export function causalOrder(changes: Iterable<Change>): Change[] {
  const missing = new Map<Hash, number>()
  const waiting = new Map<Hash, Change[]>()
  const given = new Map<Hash, Change>()
  for (const change of changes) given.set(change.hash, change)
  const order: Change[] = []
  const placed = new Set<Hash>()

  for (const change of [...given.values()].sort(byStart)) {
    const lacking = change.deps.filter((dep) => !placed.has(dep))
    missing.set(change.hash, lacking.length)
    for (const dep of lacking) {
      const rest = waiting.get(dep)
      if (rest === undefined) waiting.set(dep, [change])
      else rest.push(change)
    }
    // Honest changes come in order already; a lying startOp makes some wait for a later one.
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

/** The hashes on which none of the changes rests, sorted. */
export function headsOf(changes: Iterable<Change>): Hash[] {
  return nextHeads([], changes)
}

/** The heads of a document with these heads once these changes are in it, sorted. */
export function nextHeads(heads: readonly Hash[], changes: Iterable<Change>): Hash[] {
  const next = new Set(heads)
  for (const { hash } of changes) next.add(hash)
  for (const { deps } of changes) for (const dep of deps) next.delete(dep)
  return [...next].sort()
}

/** Those of `heads` that are given, and everything given that they rest on. */
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
