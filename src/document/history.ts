/** The graph of an entity's changes, without Automerge: which rest on which. */
import type { Change } from "../wire/chunk.ts"
import type { Actor, Hash } from "../wire/protocol.ts"

/** The older first, the same on every replica. */
export const byTime = (a: Change, b: Change): number => a.time - b.time || (a.hash < b.hash ? -1 : 1)
const byStart = (a: Change, b: Change): number => a.startOp - b.startOp || (a.hash < b.hash ? -1 : 1)

/**
 * Everything after what it rests on, each once; what rests on a change that is neither given nor in `held` is left out.
 * The order is a function of the set: by startOp, then by hash, as far as the deps allow.
 */
export function causalOrder(changes: Iterable<Change>, held?: ReadonlyMap<Hash, Change>): Change[] {
  const missing = new Map<Hash, number>()
  const waiting = new Map<Hash, Change[]>()
  const given = new Map<Hash, Change>()
  for (const change of changes) given.set(change.hash, change)
  const order: Change[] = []
  const placed = new Set<Hash>()

  for (const change of [...given.values()].sort(byStart)) {
    const lacking = change.deps.filter((dep) => !placed.has(dep) && held?.has(dep) !== true)
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

// ── a history that grows ──────────────────────────────────────────────────────────────────────────────────────────────

/** Changes and all that they rest on: how many of each actor's. An actor's changes are a chain, so these are its first. */
export type Ancestry = Map<Actor, number>

/** A closed set of changes: all that they rest on is in it. */
export class History {
  readonly changes = new Map<Hash, Change>()
  /** As they came: in causal order. */
  readonly order: Change[] = []
  readonly heads = new Set<Hash>()
  readonly byActor = new Map<Actor, Change[]>()

  /** Takes in a change that rests on what is here. */
  add(change: Change): void {
    const { hash, actor, deps } = change
    this.changes.set(hash, change)
    this.order.push(change)
    for (const dep of deps) this.heads.delete(dep)
    this.heads.add(hash)
    const theirs = this.byActor.get(actor)
    if (theirs === undefined) this.byActor.set(actor, [change])
    else theirs.push(change)
  }

  /** The change in which the actor made this operation. */
  madeBy(actor: Actor, counter: number): Change | undefined {
    const changes = this.byActor.get(actor) ?? []
    let low = 0
    let high = changes.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((changes[middle] as Change).maxOp < counter) low = middle + 1
      else high = middle
    }
    const found = changes[low]
    return found !== undefined && found.startOp <= counter ? found : undefined
  }
}

/**
 * The ancestries of changes that join a history, asked for one by one in causal order. Each costs what the history holds
 * beside it: nothing at the heads, all that is newer at an old change. None is kept for longer than somebody rests on it.
 */
export class Ancestries {
  readonly #history: History
  /** How many changes that are still to come rest on this one: the last of them takes its ancestry over. */
  readonly #users = new Map<Hash, number>()
  readonly #known = new Map<Hash, Ancestry>()
  #walked = 0

  constructor(history: History, joining: Iterable<Change>) {
    this.#history = history
    this.#announce(joining)
  }

  /** What the change rests on, itself not included. */
  of(change: Change): Ancestry {
    const { deps } = change
    const known = deps.every((dep) => this.#known.has(dep))
    if (!known && this.#walked > this.#history.order.length) {
      this.#retrace()
      return this.of(change)
    }
    let ancestry = known ? undefined : this.#below(deps)
    for (const dep of deps) {
      const left = (this.#users.get(dep) ?? 1) - 1
      this.#users.set(dep, left)
      const theirs = this.#known.get(dep)
      if (left === 0) this.#known.delete(dep)
      if (!known || theirs === undefined) continue
      if (ancestry === undefined) ancestry = left === 0 ? theirs : new Map(theirs)
      else for (const [actor, seqs] of theirs) ancestry.set(actor, Math.max(seqs, ancestry.get(actor) ?? 0))
    }
    return ancestry ?? new Map()
  }

  /** The change has joined the history; gives away what `of` has said of it. */
  joined({ hash, actor, seq }: Change, ancestry: Ancestry): void {
    if (!this.#users.get(hash)) return
    ancestry.set(actor, seq)
    this.#known.set(hash, ancestry)
  }

  #announce(changes: Iterable<Change>): void {
    for (const { deps } of changes) for (const dep of deps) this.#users.set(dep, (this.#users.get(dep) ?? 0) + 1)
  }

  /** Everything but what does not stand below: that is met going back from the newest, until nothing of it is left. */
  #below(deps: readonly Hash[]): Ancestry {
    const { order, heads, byActor } = this.#history
    const ancestry: Ancestry = new Map()
    for (const [actor, changes] of byActor) ancestry.set(actor, changes.length)
    const inside = new Set(deps)
    const outside = new Set([...heads].filter((hash) => !inside.has(hash)))
    let at = order.length
    while (outside.size > 0) {
      const { hash, actor, seq, deps } = order[--at] as Change
      if (outside.delete(hash)) {
        ancestry.set(actor, seq - 1)
        for (const dep of deps) if (!inside.has(dep)) outside.add(dep)
      } else {
        for (const dep of deps) {
          inside.add(dep)
          outside.delete(dep)
        }
      }
    }
    this.#walked += order.length - at + heads.size + byActor.size
    return ancestry
  }

  /** So many rest on old changes that one pass over the whole history is cheaper than a walk for each. */
  #retrace(): void {
    const { order } = this.#history
    this.#announce(order)
    for (const change of order) this.joined(change, this.of(change))
  }
}
