/** From a push to what of it is appended: looks up what admission asks for, change by change. */

import { type Code, HeadwaterError } from "../../src/base/errors.ts"
import { type Change, hashOf, isDerived, readChange } from "../../src/wire/chunk.ts"
import { type Access, type Entry, encodeEntry, type Hash, limits, type Push } from "../../src/wire/protocol.ts"
import type { AppendedChange, EntityState, Log, Tail } from "../log/contract.ts"
import { type Facts, headsAfter, judge, type Offer, sameHeads } from "./admission.ts"
import type { Workspace } from "./served-workspace.ts"

/** Look-ups that the walk over ancestors may make for one change, and for all changes of one push. */
const WALK = 1_000
const WALKS = 20_000
/**
 * What an entry may weigh, as it is logged: a frame must hold it and what `entries` says around it. One that no frame
 * could hold would be in the log and stop everybody who pulls.
 */
const ENTRY = limits.message - 64 * 1024
/** Bytes of changes that one push has judged before others get their turn at the processor, and what a change counts besides. */
const BREATH = 2 ** 17
const CHANGE_COST = 1024
/** In the place of a hash where an entry has no change. */
const NO_CHANGE = "0".repeat(64)

export interface From {
  /** Which connection: its own entries come back to it as runs. */
  readonly session: number
  readonly principal: string
  readonly access: Access
  /** Lets others have the processor. */
  breathe(): Promise<void>
}

export interface Receipt {
  /** The furthest place that has something of the push, or 0. */
  readonly place: number
  readonly refusals: readonly Refusal[]
  /** The place that the refusals rest on. */
  readonly rests: number
}

/**
 * Admits entry by entry, and appends together what one flush can make durable. Within a turn of the workspace: nobody
 * else appends meanwhile. Rejects with the log's own failures; then nothing is known of what was appended.
 */
export async function appendPush(workspace: Workspace, push: Push, from: From): Promise<Receipt> {
  const { session, principal, access, breathe } = from
  const by = newPusher(principal, push.adopt === true, breathe)
  const refusals: Refusal[] = []
  let place = 0
  let ground = workspace.ground()
  const admitted = new Map<
    string,
    { entry: Entry; bytes: Uint8Array; changes: readonly AppendedChange[]; index: number }
  >()
  const appendAdmitted = () => {
    workspace.holdsOn(ground)
    for (const { entry, bytes, changes, index } of admitted.values()) {
      place = workspace.append(entry, changes, { bytes, session, push: push.id, index })
    }
    admitted.clear()
    ground = workspace.ground()
  }
  for (const [index, entry] of push.entries.entries()) {
    if (admitted.has(entry.entity)) appendAdmitted() // what this entry may rest on
    const outcome = access === "read" ? refuse(entry, "FORBIDDEN") : await admit(workspace.log, entry, by)
    const { chunks, changes, known } = outcome
    refusals.push(...outcome.refusals)
    place = Math.max(place, known)
    if (chunks.length > 0) {
      const stamped = stamp(entry, chunks, by)
      const bytes = encodeEntry(stamped)
      if (bytes.length > ENTRY) refusals.push(...refuse({ ...entry, chunks }, "TOO_LARGE").refusals)
      else admitted.set(entry.entity, { entry: stamped, bytes, changes, index })
    }
  }
  appendAdmitted()
  return { place, refusals, rests: workspace.log.appended }
}

/** As it is logged: with who brought it, and without what was only said to the relay. */
function stamp(entry: Entry, chunks: readonly Uint8Array[], by: Pusher): Entry {
  const { entity, collection, once, key, blobs } = entry
  return {
    entity,
    collection,
    kind: "change",
    chunks,
    by: (by.adopt && entry.by) || by.principal,
    ...(by.adopt && { adopted: true }),
    ...(once && { once }),
    ...(key && { key }),
    ...(blobs && { blobs }),
  }
}

export interface Pusher {
  readonly principal: string
  readonly adopt: boolean
  /** Look-ups left for walks over ancestors. */
  walks: number
  /** Told of each change that was judged; what it returns is awaited before the next. */
  judged(chunk: Uint8Array): Promise<void> | undefined
}

export function newPusher(principal: string, adopt: boolean, breathe: () => Promise<void>): Pusher {
  let work = 0
  const judged = (chunk: Uint8Array) => {
    work += chunk.length + CHANGE_COST
    if (work < BREATH) return undefined
    work = 0
    return breathe()
  }
  return { principal, adopt, walks: WALKS, judged }
}

export interface Refusal {
  readonly entity: string
  readonly hash: Hash
  readonly code: Code
}

/** What became of one pushed entry. */
export interface Outcome {
  /** In the order of the entry, without what is known or refused. */
  readonly chunks: readonly Uint8Array[]
  readonly changes: readonly AppendedChange[]
  readonly refusals: readonly Refusal[]
  /** The furthest place that holds a change of it which was known already; 0: there was none. */
  readonly known: number
}

/**
 * Judges the changes of an entry one after the other, each on top of those before it. Until the outcome is appended
 * nothing else may be appended to this log. Rejects only with the log's own failures.
 */
export async function admit(log: Log, entry: Entry, by: Pusher): Promise<Outcome> {
  if (entry.kind !== "change") return refuse(entry, "FORBIDDEN")
  if (sizeOf(entry) > ENTRY) return refuse(entry, "TOO_LARGE")

  const state = log.entity(entry.entity)
  const view = new View(log, entry.entity, state instanceof Promise ? await state : state)
  const atHeads = entry.if && sameHeads(entry.if, view.state?.heads ?? [])
  const chunks: Uint8Array[] = []
  const refusals: Refusal[] = []
  let known = 0
  for (const chunk of entry.chunks) {
    const { hash, change } = read(chunk)
    const derived = typeof change !== "string" && isDerived(entry.entity, change)
    const offer: Offer = { hash, change, derived, collection: entry.collection, atHeads, ...by }
    const facts = await view.facts(offer, by)
    const verdict = judge(offer, facts)
    if (verdict === "KNOWN") known = Math.max(known, facts.known ?? 0)
    else if (verdict !== undefined) refusals.push({ entity: entry.entity, hash, code: verdict })
    else if (typeof change !== "string") {
      chunks.push(chunk)
      view.add(change, entry.collection, derived || by.adopt)
    }
    const pause = by.judged(chunk)
    if (pause) await pause
  }
  return { chunks, changes: view.added, refusals, known }
}

function sizeOf({ chunks, blobs = [] }: Entry): number {
  let size = 0
  for (const chunk of chunks) size += chunk.length
  for (const blob of blobs) size += blob.length
  return size
}

function refuse({ entity, chunks }: Entry, code: Code): Outcome {
  const hashes = chunks.length === 0 ? [NO_CHANGE] : chunks.map(hashOf)
  const refusals = hashes.map((hash) => ({ entity, hash, code }))
  return { chunks: [], changes: [], refusals, known: 0 }
}

function read(chunk: Uint8Array): { hash: Hash; change: Change | Code } {
  try {
    const change = readChange(chunk)
    return { hash: change.hash, change }
  } catch (error) {
    if (error instanceof HeadwaterError) return { hash: hashOf(chunk), change: error.code }
    throw error
  }
}

/**
 * An entity as the log has it, with what was admitted from one entry on top. Nearly always the log answers at once: then
 * nothing is awaited, which took longer than the look-up.
 */
class View {
  readonly added: AppendedChange[] = []
  state: EntityState | undefined
  readonly #log: Log
  readonly #entity: string
  readonly #tails = new Map<string, Tail>()
  readonly #added = new Map<Hash, AppendedChange>()

  constructor(log: Log, entity: string, state: EntityState | undefined) {
    this.#log = log
    this.#entity = entity
    this.state = state
  }

  async facts({ hash, change, derived }: Offer, budget: { walks: number }): Promise<Facts> {
    const nothing = { state: this.state, deps: [], tail: undefined, follows: true, bound: undefined }
    if (typeof change === "string") return { ...nothing, known: await this.#place(hash) }
    const logged = this.#tails.get(change.actor) ?? this.#log.tail(this.#entity, change.actor)
    const tail = logged instanceof Promise ? await logged : logged
    // An actor's changes come in their order: what is behind its last one cannot be there.
    const known = change.seq > (tail?.seq ?? 0) ? undefined : await this.#place(hash)
    if (known !== undefined) return { ...nothing, known }

    const deps: (number | undefined)[] = []
    for (const dep of change.deps) {
      const found = dep === tail?.hash ? tail : this.#change(dep)
      deps.push((found instanceof Promise ? await found : found)?.maxOp)
    }
    const follows = !tail || change.seq !== tail.seq + 1 || this.#isOnTop(change, tail)
    const binding = derived ? undefined : this.#log.binding(change.actor)
    return {
      state: this.state,
      known,
      deps,
      tail,
      follows: follows || (await this.#descends(change, tail, budget)),
      bound: binding instanceof Promise ? await binding : binding,
    }
  }

  add(change: Change, collection: string, unbound: boolean): void {
    const { hash, actor, seq, startOp, maxOp, deps } = change
    const added: AppendedChange = { hash, actor, seq, startOp, maxOp, deps, ...(unbound ? {} : { binds: true }) }
    this.added.push(added)
    this.#added.set(hash, added)
    this.#tails.set(actor, added)
    this.state = { collection, heads: headsAfter(this.state?.heads ?? [], change) }
  }

  /** Where a change is logged already; 0 when it was admitted a moment ago. */
  async #place(hash: Hash): Promise<number | undefined> {
    return this.#added.has(hash) ? 0 : (await this.#log.known(this.#entity, hash))?.position
  }

  #change(hash: Hash) {
    return this.#added.get(hash) ?? this.#log.known(this.#entity, hash)
  }

  /** Its author had seen its own last change at the least: nearly everybody. */
  #isOnTop(change: Change, last: Tail): boolean {
    return change.deps.includes(last.hash) || sameHeads(change.deps, this.state?.heads ?? [])
  }

  /**
   * Whether the actor's last change is an ancestor. Operations are numbered upwards along every path, so nothing
   * numbered below the one we look for can descend from it. A walk that grows too long lets the change through:
   * replicas, who hold the document, check it again.
   */
  async #descends(change: Change, last: Tail, budget: { walks: number }): Promise<boolean> {
    const seen = new Set<Hash>(change.deps)
    const open = [...seen]
    for (let left = WALK; open.length > 0; left--) {
      if (left === 0 || budget.walks-- <= 0) return true
      const ancestor = await this.#change(open.pop()!)
      if (!ancestor || ancestor.maxOp < last.maxOp) continue
      for (const dep of ancestor.deps) {
        if (dep === last.hash) return true
        if (!seen.has(dep)) open.push(dep)
        seen.add(dep)
      }
    }
    return false
  }
}
