/** The whole verdict on an entity's changes: what reading them shows (`admission.ts`), and what Automerge makes of the rest. */

import type { Code } from "../base/errors.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import { admitted, type Judged } from "./admission.ts"
import { applyWhole, refuseLossy } from "./apply.ts"
import { type Handle, NOBODY, newHandle } from "./automerge.ts"

/**
 * What `admitted` says, and `CHUNK_BAD` for those of `suspects` that Automerge does not apply to their ancestors, or does not
 * give back byte for byte. Costs as much as hydrating the entity, and more only when a change is bad.
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
    // The others were judged sound once, by another Automerge or before the disk was damaged. Now each of them is a suspect.
    if (poison === undefined) return verdicts(entity, given, new Set(given.map(({ hash }) => hash)))
    if (poison.size === 0) return { ...read, bad: new Map([...bad, ...read.bad]) }
    // Once more without them: one may have had the actor and seq of an honest change.
    for (const hash of poison) bad.set(hash, "CHUNK_BAD")
  }
}

/**
 * The suspects that Automerge does not take; undefined when it does not even take the others. Tries all suspects together,
 * then halves of those that fail, until single changes are left.
 */
function poisonIn(order: readonly Change[], suspects: ReadonlySet<Hash>): Set<Hash> | undefined {
  const poison = new Set<Hash>()
  const isSuspect = ({ hash }: Change) => suspects.has(hash)
  const trusted = order.filter((change) => !isSuspect(change))
  let base = tried(undefined, trusted, suspects)
  if (base === undefined) return undefined
  const held = new Set(trusted.map(({ hash }) => hash))
  const open = [order.filter(isSuspect)]
  for (let run = open.pop(); run !== undefined; run = open.pop()) {
    // A change that depends on a bad one gets no verdict of its own.
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
  const handle = base?.fork(NOBODY) ?? newHandle()
  const heads = handle.getHeads()
  try {
    applyWhole(handle, heads, changes)
    refuseLossy(
      handle,
      heads,
      changes.filter(({ hash }) => suspects.has(hash)),
    )
    return handle
  } catch {
    handle.free()
    return undefined
  }
}
