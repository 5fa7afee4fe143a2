/**
 * Judges whether a change that this device did not make may enter a document, as far as reading the change shows this.
 * `operation-faults.ts` reads its operations; `verdicts.ts` lets Automerge judge the rest.
 *
 * Almost all verdicts depend only on the change and its ancestors. So every replica gives the same verdict, whatever
 * other changes it has and in whatever order they came. The exceptions are `SEQ_TAKEN` and `COLLECTION_MISMATCH`: of
 * two rival changes, the first in the history is sound.
 */

import type { Code } from "../base/errors.ts"
import type { Change } from "../wire/chunk.ts"
import type { Actor, Hash } from "../wire/protocol.ts"
import { collectionMadeBy } from "./derived-changes.ts"
import { Ancestries, type Ancestry } from "./history/ancestries.ts"
import { causalOrder } from "./history/graph.ts"
import { History } from "./history/history.ts"
import { type Exists, fault } from "./operation-faults.ts"

export interface Verdicts {
  /** The sound changes, in causal order. All changes that a sound change depends on are sound, too. */
  readonly order: readonly Change[]
  readonly bad: ReadonlyMap<Hash, Code>
  /** Changes that depend on a bad change or on a change that is missing. */
  readonly waiting: readonly Change[]
}

/** The verdicts on all of an entity's changes. */
export interface Judged extends Verdicts {
  /** The history of the changes in `order`. `Entity.hydrate` can take it, and then owns it. */
  readonly history: History
}

/**
 * Reads a change, and throws unless it finds the change sound. `exists`: whether an ancestor of the change has made an
 * operation.
 */
export type ReadChange = (change: Change, exists: Exists) => void

/** How far the startOp of a change may be beyond the largest operation counter of its deps. */
const START_AHEAD = 2 ** 20

/**
 * Judges `suspects`, and the changes that depend on them, by reading alone. The other changes are known to be sound.
 *
 * `SEQ_GAP`, `START_OP`, `SEQ_TAKEN`: the change breaks a rule of admission (`docs/protocol.md`).
 * `COLLECTION_MISMATCH`: a second genesis. `OP_REFERENCE`: an operation refers to an operation that is neither in the
 * change nor in its ancestors. `CHUNK_BAD`: operations that Automerge never writes, a change without deps that is no
 * genesis, or a change other than the genesis that writes `@type`.
 *
 * No document is made. Whether Automerge can apply the sound changes is seen only when they are applied: if
 * `Entity.receive` or `Entity.hydrate` throws, `verdicts` finds out which change is to blame.
 */
export function admitted(entity: string, changes: Iterable<Change>, suspects: ReadonlySet<Hash>): Judged {
  const given = [...changes]
  const history = History.of(trustedOf(given, suspects))
  const { bad, waiting } = new Admission(entity, history).judge(given)
  return { order: [...history.order], bad, waiting, history }
}

/**
 * Returns, in causal order, the changes that are no suspects. Leaves out those that have a suspect or a missing change
 * among their ancestors.
 */
export function trustedOf(changes: readonly Change[], suspects: ReadonlySet<Hash>): Change[] {
  return causalOrder(changes.filter(({ hash }) => !suspects.has(hash)))
}

/**
 * Judges changes that arrive for a history of sound changes. The verdicts are those that `admitted` would give on all
 * the changes together. The cost depends only on the changes that arrive and the changes that are concurrent to them.
 */
export class Admission {
  readonly #entity: string
  readonly #history: History
  readonly #read: ReadChange | undefined

  /**
   * `read` is called instead of `fault`, just before a change is added to the history. A reader passes its own
   * function, so that the operations of a change are read only once.
   */
  constructor(entity: string, history: History, read?: ReadChange) {
    this.#entity = entity
    this.#history = history
    this.#read = read
  }

  /**
   * Judges these changes, and adds the sound ones to the history. Does not keep the waiting changes: pass them again
   * with the next changes.
   */
  judge(arrived: Iterable<Change>): Verdicts {
    const history = this.#history
    const open = new Map<Hash, Change>()
    for (const change of arrived) if (!history.changes.has(change.hash)) open.set(change.hash, change)
    const order: Change[] = []
    const bad = new Map<Hash, Code>()
    const joining = causalOrder(open.values(), history.changes)
    const ancestries = new Ancestries(history, joining)
    for (const change of joining) {
      if (!change.deps.every((dep) => history.changes.has(dep))) continue // a dep is bad, or depends on a bad change
      open.delete(change.hash)
      const ancestry = ancestries.of(change)
      const code = this.#codeOf(change, ancestry)
      if (code !== undefined) {
        bad.set(change.hash, code)
        continue
      }
      history.add(change)
      ancestries.joined(change, ancestry)
      order.push(change)
    }
    return { order, bad, waiting: [...open.values()] }
  }

  #codeOf(change: Change, ancestry: Ancestry): Code | undefined {
    const { actor, seq, startOp, deps } = change
    const before = ancestry.get(actor) ?? 0
    if (seq !== before + 1) return "SEQ_GAP"
    const maxOp = Math.max(0, ...deps.map((dep) => this.#history.changes.get(dep)?.maxOp ?? 0))
    if (startOp <= maxOp || startOp > maxOp + START_AHEAD) return "START_OP"
    const code = this.#faultOf(change, ancestry)
    if (code !== undefined) return code
    // `SEQ_TAKEN` and `COLLECTION_MISMATCH` are checked last, because they depend on which other changes are in the
    // history. Of two changes with the same actor and seq, the history keeps the one that it already has.
    if (this.#history.seqOf(actor) > before) return "SEQ_TAKEN"
    return deps.length === 0 && this.#history.hasRoot ? "COLLECTION_MISMATCH" : undefined
  }

  #faultOf(change: Change, ancestry: Ancestry): Code | undefined {
    const exists = (counter: number, author: Actor) => {
      const seq = this.#history.madeBy(author, counter)
      return seq !== undefined && seq <= (ancestry.get(author) ?? 0)
    }
    if (this.#read !== undefined) return void this.#read(change, exists)
    if (change.deps.length > 0) return fault(change, exists)
    return collectionMadeBy(this.#entity, change) === undefined ? "CHUNK_BAD" : undefined
  }
}
