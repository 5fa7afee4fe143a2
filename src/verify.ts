/**
 * Whether a foreign change may enter a document. The verdict looks only at the change and what it rests on (and at who
 * else claims its place), so that every replica comes to the same one, whatever else it holds and in whatever order.
 */
import { type Handle, newHandle } from "./automerge.ts"
import { type Change, isDerived } from "./chunk.ts"
import { refuseLossy, take } from "./document.ts"
import type { Code } from "./errors.ts"
import { causalOrder } from "./history.ts"
import { fault, setsOnly } from "./operations.ts"
import type { Actor, Hash } from "./protocol.ts"

export { ancestors, causalOrder, headsOf } from "./history.ts"

export interface Verdicts {
  /** Causally closed and in causal order, without the bad ones and what rests on them. */
  readonly order: readonly Change[]
  readonly bad: ReadonlyMap<Hash, Code>
  /** They rest on changes that are not held, or bad. */
  readonly waiting: readonly Change[]
}

/** How far beyond its deps a change may start counting. */
const START_AHEAD = 2 ** 20
const NOBODY = "0".repeat(32)

/**
 * The verdicts that reading alone gives, on `suspects` only: admission (`SEQ_GAP`, `SEQ_TAKEN`, `START_OP`,
 * `COLLECTION_MISMATCH` for a second genesis), operations that name something outside the change and its ancestors
 * (`OP_REFERENCE`), operations that no Automerge writes (`CHUNK_BAD`). No document is made. What Automerge itself makes of
 * the rest shows when it is applied: then `Entity.apply` or `Entity.hydrate` throws, and `verdicts` finds out who is to blame.
 */
export function admitted(entity: string, changes: Iterable<Change>, suspects: ReadonlySet<Hash>): Verdicts {
  const given = [...changes]
  return new Admission(entity, suspects).run(given, causalOrder(given))
}

/**
 * The whole verdict: what `admitted` says, and of the rest whether Automerge applies each change to its ancestors and can
 * give it back byte for byte (`CHUNK_BAD`). Costs as much as hydrating the entity, and more only when one is bad.
 */
export function verdicts(entity: string, changes: Iterable<Change>, suspects: ReadonlySet<Hash>): Verdicts {
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

function remaining(given: readonly Change[], order: readonly Change[], bad: ReadonlyMap<Hash, Code>): Change[] {
  const settled = new Set([...bad.keys(), ...order.map(({ hash }) => hash)])
  const rest = new Map(given.filter(({ hash }) => !settled.has(hash)).map((change) => [change.hash, change]))
  return [...rest.values()]
}

// ── by reading ────────────────────────────────────────────────────────────────────────────────────────────────────────

const GENESIS = "genesis"
const place = ({ actor, seq }: Change): string => `${actor} ${seq}`

/** How many changes of each actor are among a change's ancestors: their seqs run from 1. */
type Clock = Map<Actor, number>

class Admission {
  private readonly entity: string
  private readonly suspects: ReadonlySet<Hash>
  private readonly sound = new Map<Hash, Change>()
  private readonly byActor = new Map<Actor, Change[]>()
  private readonly clocks = new Map<Hash, Clock>()
  /** How many changes, not yet looked at, rest on this one: the last of them takes its clock over. */
  private readonly users = new Map<Hash, number>()
  private readonly claims = new Set<string>()

  constructor(entity: string, suspects: ReadonlySet<Hash>) {
    this.entity = entity
    this.suspects = suspects
  }

  run(given: readonly Change[], order: readonly Change[]): Verdicts {
    const bad = new Map<Hash, Code>()
    for (const change of order) {
      if (!this.suspects.has(change.hash)) this.claim(change)
      for (const dep of change.deps) this.users.set(dep, (this.users.get(dep) ?? 0) + 1)
    }
    for (const change of order) {
      if (!change.deps.every((dep) => this.sound.has(dep))) continue
      const clock = this.clockOf(change)
      const code = this.suspects.has(change.hash) ? this.codeOf(change, clock) : undefined
      if (code === undefined) this.admit(change, clock)
      else bad.set(change.hash, code)
    }
    const sound = [...this.sound.values()]
    return { order: sound, bad, waiting: remaining(given, sound, bad) }
  }

  /** One place, one change: what is trusted keeps it, else the first sound one in causal order has it, on every replica. */
  private claim(change: Change): void {
    this.claims.add(place(change))
    if (this.isGenesis(change)) this.claims.add(GENESIS)
  }

  private isGenesis(change: Change): boolean {
    return change.deps.length === 0 && isDerived(this.entity, change) && setsOnly(change, "@type")
  }

  private codeOf(change: Change, clock: Clock): Code | undefined {
    const { actor, seq, startOp, deps } = change
    if (seq !== (clock.get(actor) ?? 0) + 1) return "SEQ_GAP"
    if (this.claims.has(place(change))) return "SEQ_TAKEN"
    if (this.claims.has(GENESIS) && this.isGenesis(change)) return "COLLECTION_MISMATCH"
    const maxOp = Math.max(0, ...deps.map((dep) => this.sound.get(dep)?.maxOp ?? 0))
    if (startOp <= maxOp || startOp > maxOp + START_AHEAD) return "START_OP"
    const code = fault(change, (counter, author) => this.exists(counter, author, clock.get(author) ?? 0))
    if (code === undefined) this.claim(change)
    return code
  }

  /** Whether one of the actor's first `seqs` changes made this operation. */
  private exists(counter: number, actor: Actor, seqs: number): boolean {
    const changes = this.byActor.get(actor) ?? []
    let low = 0
    let high = Math.min(seqs, changes.length)
    while (low < high) {
      const middle = (low + high) >> 1
      if ((changes[middle] as Change).maxOp < counter) low = middle + 1
      else high = middle
    }
    const found = changes[low]
    return found !== undefined && low < seqs && found.startOp <= counter && counter <= found.maxOp
  }

  private clockOf({ deps }: Change): Clock {
    let clock: Clock | undefined
    for (const dep of deps) {
      const left = (this.users.get(dep) ?? 1) - 1
      this.users.set(dep, left)
      const theirs = this.clocks.get(dep) ?? new Map<Actor, number>()
      if (left === 0) this.clocks.delete(dep)
      if (clock === undefined) clock = left === 0 ? theirs : new Map(theirs)
      else for (const [actor, seqs] of theirs) clock.set(actor, Math.max(seqs, clock.get(actor) ?? 0))
    }
    return clock ?? new Map()
  }

  private admit(change: Change, clock: Clock): void {
    clock.set(change.actor, change.seq)
    this.clocks.set(change.hash, clock)
    this.sound.set(change.hash, change)
    const mine = this.byActor.get(change.actor)
    if (mine === undefined) this.byActor.set(change.actor, [change])
    else mine.push(change)
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
