/**
 * Whether a foreign change may enter a document. The verdict looks only at the change and what it rests on (and at who
 * else claims its place), so that every replica comes to the same one, whatever else it holds and in whatever order.
 */

import type { Code } from "../base/errors.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import { refuseLossy, take } from "./apply.ts"
import { type Handle, newHandle } from "./automerge.ts"
import { collectionMadeBy } from "./derived.ts"
import { Ancestries, type Ancestry, causalOrder, History } from "./history.ts"
import { fault } from "./operations.ts"

export { ancestors, causalOrder, headsOf } from "./history.ts"

export interface Verdicts {
  /** Causally closed and in causal order, without the bad ones and what rests on them. */
  readonly order: readonly Change[]
  readonly bad: ReadonlyMap<Hash, Code>
  /** They rest on changes that are not held, or bad. */
  readonly waiting: readonly Change[]
}

/** All of an entity, judged. */
export interface Judged extends Verdicts {
  /** With what is in `order`, and ready for more. */
  readonly admission: Admission
}

/** How far beyond its deps a change may start counting. */
const START_AHEAD = 2 ** 20
const NOBODY = "0".repeat(32)

/**
 * The verdicts that reading alone gives, on `suspects` and what rests on them: admission (`SEQ_GAP`, `START_OP`,
 * `SEQ_TAKEN`, `COLLECTION_MISMATCH` for a second genesis), operations that name something outside the change and its
 * ancestors (`OP_REFERENCE`), operations that no Automerge writes, a beginning that is no genesis of a collection that can
 * be, a collection that is changed (`CHUNK_BAD`). The document is not made. What Automerge itself
 * makes of the rest shows when it is applied: then `Entity.apply` or `Entity.hydrate` throws, and `verdicts` finds out who is
 * to blame.
 */
export function admitted(entity: string, changes: Iterable<Change>, suspects: ReadonlySet<Hash>): Judged {
  const given = [...changes]
  const admission = new Admission(entity)
  for (const change of causalOrder(given.filter(({ hash }) => !suspects.has(hash)))) admission.trust(change)
  const { bad, waiting } = admission.judge(given)
  return { order: [...admission.changes.values()], bad, waiting, admission }
}

/**
 * The whole verdict: what `admitted` says, and of the rest whether Automerge applies each change to its ancestors and can
 * give it back byte for byte (`CHUNK_BAD`). Costs as much as hydrating the entity, and more only when one is bad.
 */
export function verdicts(entity: string, changes: Iterable<Change>, suspects: ReadonlySet<Hash>): Judged {
  const given = [...changes]
  const bad = new Map<Hash, Code>()
  for (;;) {
    const read = admitted(
      entity,
      given.filter(({ hash }) => !bad.has(hash)),
      suspects,
    )
    const poison = poisonIn(read.order, suspects)
    // Judged sound once, by another Automerge or before the disk was damaged: nothing is taken on trust then.
    if (poison === undefined) return verdicts(entity, given, new Set(given.map(({ hash }) => hash)))
    if (poison.size === 0) return { ...read, bad: new Map([...bad, ...read.bad]) }
    // Once more without them: one may have held a place that an honest change claims.
    for (const hash of poison) bad.set(hash, "CHUNK_BAD")
  }
}

// ── by reading ────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * The sound changes of an entity, and whether others may join them. What arrives is judged as `admitted` would among
 * everything that is held, at a cost that follows what has arrived and what is concurrent to it.
 */
export class Admission {
  readonly #entity: string
  readonly #history = new History()
  #hasGenesis = false

  constructor(entity: string) {
    this.#entity = entity
  }

  /** In causal order. */
  get changes(): ReadonlyMap<Hash, Change> {
    return this.#history.changes
  }

  /** Takes in a change that is known to be sound and rests on what is here; one that is here already is nothing new. */
  trust(change: Change): void {
    if (this.changes.has(change.hash)) return
    this.#history.add(change)
    this.#hasGenesis ||= change.deps.length === 0
  }

  /** Takes in those of the changes that are sound: they are the verdicts' `order`. What waits must be given again. */
  judge(arrived: Iterable<Change>): Verdicts {
    const open = new Map<Hash, Change>()
    for (const change of arrived) if (!this.changes.has(change.hash)) open.set(change.hash, change)
    const order: Change[] = []
    const bad = new Map<Hash, Code>()
    const joining = causalOrder(open.values(), this.changes)
    const ancestries = new Ancestries(this.#history, joining)
    for (const change of joining) {
      if (!change.deps.every((dep) => this.changes.has(dep))) continue
      open.delete(change.hash)
      const ancestry = ancestries.of(change)
      const code = this.#codeOf(change, ancestry)
      if (code !== undefined) {
        bad.set(change.hash, code)
        continue
      }
      this.trust(change)
      ancestries.joined(change, ancestry)
      order.push(change)
    }
    return { order, bad, waiting: [...open.values()] }
  }

  #codeOf(change: Change, ancestry: Ancestry): Code | undefined {
    const { actor, seq, startOp, deps } = change
    const before = ancestry.get(actor) ?? 0
    if (seq !== before + 1) return "SEQ_GAP"
    const maxOp = Math.max(0, ...deps.map((dep) => this.changes.get(dep)?.maxOp ?? 0))
    if (startOp <= maxOp || startOp > maxOp + START_AHEAD) return "START_OP"
    const root = deps.length === 0
    if (root && collectionMadeBy(this.#entity, change) === undefined) return "CHUNK_BAD"
    const code = root ? undefined : this.#faultOf(change, ancestry)
    if (code !== undefined) return code
    // One place, one change: what is here keeps it. Asked last, for only this depends on what else is here.
    if ((this.#history.byActor.get(actor)?.length ?? 0) > before) return "SEQ_TAKEN"
    return root && this.#hasGenesis ? "COLLECTION_MISMATCH" : undefined
  }

  #faultOf(change: Change, ancestry: Ancestry): Code | undefined {
    return fault(change, (counter, author) => {
      const made = this.#history.madeBy(author, counter)
      return made !== undefined && made.seq <= (ancestry.get(author) ?? 0)
    })
  }
}

// ── by trying ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * The suspects that Automerge does not take; undefined when it does not even take the others. Halves of what fails are
 * tried until single changes are left.
 */
function poisonIn(order: readonly Change[], suspects: ReadonlySet<Hash>): Set<Hash> | undefined {
  const poison = new Set<Hash>()
  const isSuspect = ({ hash }: Change) => suspects.has(hash)
  let base = tried(
    undefined,
    order.filter((change) => !isSuspect(change)),
    suspects,
  )
  if (base === undefined) return undefined
  const held = new Set(order.filter((change) => !isSuspect(change)).map(({ hash }) => hash))
  const open = [order.filter(isSuspect)]
  for (let run = open.pop(); run !== undefined; run = open.pop()) {
    // What rests on a bad change has no say.
    const seen = new Set(held)
    const closed = run.filter(({ hash, deps }) => deps.every((dep) => seen.has(dep)) && seen.add(hash))
    if (closed.length === 0) continue
    const next = tried(base, closed, suspects)
    if (next !== undefined) {
      base.free()
      base = next
      for (const { hash } of closed) held.add(hash)
    } else if (closed.length === 1) {
      poison.add((closed[0] as Change).hash)
    } else {
      open.push(closed.slice(closed.length >> 1), closed.slice(0, closed.length >> 1))
    }
  }
  base.free()
  return poison
}

/** A copy of the document with these changes in it, or undefined when Automerge does not take them. */
function tried(base: Handle | undefined, changes: readonly Change[], suspects: ReadonlySet<Hash>): Handle | undefined {
  const handle = base?.fork(NOBODY) ?? newHandle(NOBODY)
  const since = handle.getHeads()
  try {
    take(handle, since, changes)
    refuseLossy(
      handle,
      since,
      changes.filter(({ hash }) => suspects.has(hash)),
    )
    return handle
  } catch {
    handle.free()
    return undefined
  }
}
