/**
 * Makes the next push from changes of the outbox. A change comes after its deps, as the relay demands. Each entry of
 * the push has changes of one entity.
 */

import { entryOf } from "../replica/disk/change-record.ts"
import { readChanges } from "../replica/disk/histories.ts"
import { isOurs } from "../replica/disk/outbox-principal.ts"
import type { Owed } from "../replica/disk/records.ts"
import type { Replica } from "../replica/replica.ts"
import { type Entry, type Hash, limits } from "../wire/protocol.ts"

export interface NextPush {
  readonly entries: readonly Entry[]
  readonly adopt: boolean
  /** The changes in the push, with the entity of each. */
  readonly changes: Map<Hash, string>
  /** The changes in the push, and those that were chosen and could not be read. None of them must be chosen again. */
  readonly chosen: readonly Hash[]
  /** Bytes of the chunks in the push. */
  readonly bytes: number
}

/**
 * Tells which changes must wait. `entity`: whether all changes of this entity must. `change`: whether this change must.
 * `entity` is called first, so that thousands of waiting entities are skipped without a look at their changes.
 */
export interface Waiting {
  entity(entity: string): boolean
  change(hash: Hash): boolean
}

/**
 * Makes the next push; undefined when nothing can be pushed now. Own and adopted changes never share a push, because
 * `adopt` applies to the whole push.
 */
export async function nextPush(replica: Replica, waiting: Waiting): Promise<NextPush | undefined> {
  const chosen = choose(replica, waiting)
  if (chosen.length === 0) return undefined
  const entries: Entry[] = []
  const changes = new Map<Hash, string>()
  let bytes = 0
  for (const [owed, held] of await read(replica, chosen)) {
    const entry = owed.how === "adopt" ? signed(held, replica.state.firstPrincipal) : unsigned(held)
    const last = entries.at(-1)
    if (last !== undefined && belongTogether(last, entry)) {
      entries[entries.length - 1] = { ...last, chunks: [...last.chunks, ...entry.chunks] }
    } else entries.push(entry)
    changes.set(owed.hash, owed.entity)
    bytes += owed.bytes
  }
  return { entries, adopt: isAdopted(chosen[0]), changes, chosen: chosen.map(({ hash }) => hash), bytes }
}

/** Returns an own change as it is pushed: without a principal, because the relay adds it. */
function unsigned({ by: _by, adopted: _adopted, ...entry }: Entry): Entry {
  return entry
}

/**
 * Returns an adopted change as it is pushed: with the principal that once pushed it. A change that was made here before
 * any connection has no principal on the disk. It belongs to the first principal that connected.
 */
function signed(entry: Entry, firstPrincipal: string | null): Entry {
  return entry.by === undefined && firstPrincipal !== null ? { ...entry, by: firstPrincipal } : entry
}

function belongTogether(a: Entry, b: Entry): boolean {
  return a.entity === b.entity && a.by === b.by && a.once === undefined && b.once === undefined
}

function choose(replica: Replica, waiting: Waiting): Owed[] {
  const chosen: Owed[] = []
  let bytes = 0
  for (const entity of replica.outbox.pushable(replica.state)) {
    if (waiting.entity(entity)) continue
    for (const owed of replica.outbox.of(entity)) {
      if (waiting.change(owed.hash)) continue
      if (!isOurs(owed, replica.state)) break // later changes of the entity may depend on this one
      if (chosen.length > 0 && isAdopted(chosen[0]) !== isAdopted(owed)) break
      if (chosen.length > 0 && bytes + owed.bytes > replica.sizes.pushBytes) return chosen
      chosen.push(owed)
      bytes += owed.bytes
      if (chosen.length === limits.entries) return chosen // so the push has no more chunks than `limits.chunks`, either
    }
  }
  return chosen
}

const isAdopted = (owed: Owed | undefined): boolean => owed?.how === "adopt"

async function read(replica: Replica, chosen: readonly Owed[]): Promise<[Owed, Entry][]> {
  const kept = chosen.map(({ entity, hash }) => replica.kept(entity, hash))
  const others = chosen.filter((_, i) => kept[i] === undefined)
  const saved = await readChanges(replica.store, replica.id, others)
  const found: [Owed, Entry][] = []
  for (const [i, owed] of chosen.entries()) {
    const { entity, hash } = owed
    const readAgain = () => replica.step([], (tx) => replica.documents.saved.heldOwed(entity, hash, tx))
    // Undefined if the change was set aside meanwhile, or if the disk has damaged or lost its record. `heldOwed` notes
    // the damage.
    const held = kept[i] ?? saved.get(hash) ?? (await readAgain())
    if (held !== undefined) found.push([owed, entryOf(entity, held)])
  }
  return found
}
