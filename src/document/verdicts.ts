/**
 * Gives the whole verdict on an entity's changes: the verdict of reading them (`admission.ts`), and whether Automerge
 * can apply the changes in which reading finds no fault.
 */

import { type Code, HeadwaterError } from "../base/errors.ts"
import { type Change, readChange } from "../wire/chunk.ts"
import { type Hash, limits } from "../wire/protocol.ts"
import { admitted, type Judged } from "./admission.ts"
import { applyWhole, refuseLossy } from "./apply.ts"
import { discard, type Handle, NOBODY, newHandle } from "./automerge.ts"

/**
 * Gives the verdicts of `admitted`, and `CHUNK_BAD` for each of `suspects` that Automerge does not apply to its
 * ancestors, or does not return byte for byte. Costs as much as hydrating the entity, and more only when a change is
 * bad.
 *
 * A verdict is about the change and never about the machine (its free memory, say). Before and after each try whose
 * failure gives a verdict, Automerge must add to the same document a change of the same size that is known to be good.
 * Throws `DOCUMENT_FAILED` when Automerge cannot do this: then there is no verdict, and the same changes may be found
 * sound a moment later.
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
    // Undefined: Automerge fails on changes that are no suspects, because another build of Automerge judged them. So
    // every change becomes a suspect.
    if (poison === undefined) return verdicts(entity, given, new Set(given.map(({ hash }) => hash)))
    if (poison.size === 0) return { ...read, bad: new Map([...bad, ...read.bad]) }
    // Judge once more without the bad changes, because a bad change may have taken the actor and seq of a sound change.
    for (const hash of poison) bad.set(hash, "CHUNK_BAD")
  }
}

/**
 * Finds the suspects that Automerge does not apply. Returns undefined when Automerge does not even apply the changes
 * that are no suspects. Tries all suspects together, then the halves of each set that fails, until single changes are
 * left.
 */
function poisonIn(order: readonly Change[], suspects: ReadonlySet<Hash>): Set<Hash> | undefined {
  const poison = new Set<Hash>()
  const isSuspect = ({ hash }: Change) => suspects.has(hash)
  const trusted = order.filter((change) => !isSuspect(change))
  let base = tried(undefined, trusted, suspects)
  if (base === undefined) return undefined
  const applied = new Set(trusted.map(({ hash }) => hash))
  const open = [order.filter(isSuspect)]
  for (let run = open.pop(); run !== undefined; run = open.pop()) {
    // Leave out the changes that depend on a bad change: they get no verdict of their own.
    const seen = new Set(applied)
    const closed = run.filter(({ hash, deps }) => deps.every((dep) => seen.has(dep)) && seen.add(hash))
    if (closed.length === 0) continue
    const next = tried(base, closed, suspects)
    if (next !== undefined) {
      base.free()
      base = next
      for (const { hash } of closed) applied.add(hash)
    } else if (closed.length === 1) {
      // Try once more, because the failure may be chance. Between the two tries, `tried` has applied a change that is
      // known to be good.
      const again = tried(base, closed, suspects)
      again?.free()
      if (again === undefined) poison.add((closed[0] as Change).hash)
      else open.push(closed)
    } else {
      open.push(closed.slice(closed.length >> 1), closed.slice(0, closed.length >> 1))
    }
  }
  base.free()
  return poison
}

/**
 * Makes a copy of the document `base` with these changes in it. Returns undefined when Automerge does not apply them,
 * although it still applies a change that is known to be good (`mustWork`). Throws `DOCUMENT_FAILED` when it does not
 * apply that change either.
 */
function tried(base: Handle | undefined, changes: readonly Change[], suspects: ReadonlySet<Hash>): Handle | undefined {
  const handle = copyOf(base)
  try {
    const heads = handle.getHeads()
    applyWhole(handle, heads, changes)
    refuseLossy(
      handle,
      heads,
      changes.filter(({ hash }) => suspects.has(hash)),
    )
    return handle
  } catch {
    try {
      mustWork(base, changes) // before the failed copy is freed, so that as much memory is in use
    } finally {
      discard(handle)
    }
    return undefined
  }
}

const copyOf = (base: Handle | undefined): Handle => onThisMachine(() => base?.fork(NOBODY) ?? newHandle())

/**
 * The most operations and bytes that the change of `mustWork` has. Every change may have so many operations, and a little
 * more bytes.
 */
const MOST_OPS = limits.ops
const MOST_BYTES = limits.chunk - 2 ** 16

/**
 * Applies a change that is known to be good to copies of the document. This change has as many operations and bytes as
 * `changes` together, but at most `MOST_OPS` and `MOST_BYTES`. So it needs as much memory as they did. Meanwhile the
 * base and the failed copy still take their memory. Throws `DOCUMENT_FAILED` when Automerge cannot apply the change.
 */
function mustWork(base: Handle | undefined, changes: readonly Change[]): void {
  const ops = changes.reduce((sum, change) => sum + change.ops, 2)
  const bytes = changes.reduce((sum, { chunk }) => sum + chunk.length, 0)
  const [author, reader] = [copyOf(base), copyOf(base)]
  try {
    onThisMachine(() => {
      const heads = author.getHeads()
      author.put("_root", "probe", incompressible(Math.min(bytes, MOST_BYTES)), "bytes")
      author.splice(author.putObject("_root", "text", ""), 0, 0, "x".repeat(Math.min(ops, MOST_OPS) - 2))
      author.commit(undefined, 0)
      const change = readChange(author.getLastLocalChange() as Uint8Array)
      applyWhole(reader, heads, [change])
      refuseLossy(reader, heads, [change])
    })
  } finally {
    discard(author)
    discard(reader)
  }
}

/**
 * Makes bytes that cannot be compressed, so that they take as much memory as their length. Each call makes the same
 * bytes.
 */
function incompressible(length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0, state = 1; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    bytes[i] = state >>> 24
  }
  return bytes
}

/**
 * Calls `run`. An error that `run` throws is a failure of the machine and not of a change: it becomes
 * `DOCUMENT_FAILED`.
 */
function onThisMachine<T>(run: () => T): T {
  try {
    return run()
  } catch (cause) {
    throw new HeadwaterError(
      "DOCUMENT_FAILED",
      "Automerge cannot make a document now; the changes are tried again later",
      { cause },
    )
  }
}
