/**
 * Judges whether a foreign change may enter a document, as far as reading it shows; `verdicts.ts` asks Automerge for
 * the rest. The verdict depends only on the change and its ancestors (and on which other change has its actor and seq),
 * so every replica comes to the same one, whatever other changes it has and in whatever order they came.
 */

import type { Code } from "../base/errors.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import { Ancestries, type Ancestry } from "./ancestries.ts"
import { collectionMadeBy } from "./derived.ts"
import { causalOrder } from "./graph.ts"
import { History } from "./history.ts"
import { fault } from "./operations.ts"

export interface Verdicts {
  /** The sound changes, in causal order: all that they depend on is sound too. */
  readonly order: readonly Change[]
  readonly bad: ReadonlyMap<Hash, Code>
  /** Changes that depend on a bad change or on one that is not here. */
  readonly waiting: readonly Change[]
}

/** The verdicts on all of an entity's changes. */
export interface Judged extends Verdicts {
  /** The changes in `order`. An `Entity` can be made of it, which then owns it. */
  readonly history: History
}

/** How far the startOp of a change may be beyond the largest operation counter of its deps. */
const START_AHEAD = 2 ** 20

/**
 * Gives the verdicts that reading alone gives on `suspects` and on what depends on them. The other changes are known to
 * be sound.
 *
 * `SEQ_GAP`, `START_OP`, `SEQ_TAKEN`: rules of admission. `COLLECTION_MISMATCH`: a second genesis. `OP_REFERENCE`: an
 * operation refers to one that is neither in the change nor among its ancestors. `CHUNK_BAD`: operations that no
 * Automerge writes, a change without deps that is no genesis, or one that writes `@type`.
 *
 * No document is made. Whether Automerge can apply the sound changes shows when it does: if `Entity.receive` or
 * `Entity.hydrate` throws, `verdicts` finds out which change is to blame.
 */
export function admitted(entity: string, changes: Iterable<Change>, suspects: ReadonlySet<Hash>): Judged {
  const given = [...changes]
  const history = History.of(causalOrder(given.filter(({ hash }) => !suspects.has(hash))))
  const { bad, waiting } = new Admission(entity, history).judge(given)
  return { order: [...history.order], bad, waiting, history }
}

/**
 * Judges changes that arrive for a history of sound changes. The verdicts are those that `admitted` would give on all
 * the changes together. The cost depends only on what has arrived and what is concurrent to it.
 */
export class Admission {
  readonly #entity: string
  readonly #history: History

  constructor(entity: string, history: History) {
    this.#entity = entity
    this.#history = history
  }

  /** Adds the sound ones of these changes to the history. Those that wait are not kept: they must be given again. */
  judge(arrived: Iterable<Change>): Verdicts {
    const history = this.#history
    const open = new Map<Hash, Change>()
    for (const change of arrived) if (!history.changes.has(change.hash)) open.set(change.hash, change)
    const order: Change[] = []
    const bad = new Map<Hash, Code>()
    const joining = causalOrder(open.values(), history.changes)
    const ancestries = new Ancestries(history, joining)
    for (const change of joining) {
      if (!change.deps.every((dep) => history.changes.has(dep))) continue // a dep is bad
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
    const isRoot = deps.length === 0
    if (isRoot && collectionMadeBy(this.#entity, change) === undefined) return "CHUNK_BAD"
    const code = isRoot ? undefined : this.#faultOf(change, ancestry)
    if (code !== undefined) return code
    // Of two changes with one (actor, seq), the one in the history stays. This is checked last, because only this
    // depends on what else is in the history.
    if (this.#history.seqOf(actor) > before) return "SEQ_TAKEN"
    return isRoot && this.#history.hasRoot ? "COLLECTION_MISMATCH" : undefined
  }

  #faultOf(change: Change, ancestry: Ancestry): Code | undefined {
    return fault(change, (counter, author) => {
      const made = this.#history.madeBy(author, counter)
      return made !== undefined && made.seq <= (ancestry.get(author) ?? 0)
    })
  }
}
