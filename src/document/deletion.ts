/**
 * Finds out whether an entity is deleted. `@deleted` holds the heads of the document that the deleter saw, sorted and
 * joined by commas: the deleter knew these heads and their ancestors. The entity is deleted while `@deleted` has a
 * value and every change that the deleter did not know is derived or only sets `@deleted`. So two things bring the
 * entity back: an edit that the deleter did not know, and the removal of the value.
 */

import { type Change, isDerived } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import { byTime } from "./history/graph.ts"
import type { History } from "./history/history.ts"
import { setsOnly } from "./root-operations.ts"

export const DELETED = "@deleted"

export const deletedValue = (heads: readonly Hash[]): string => [...heads].sort().join(",")

/** A string that `@deleted` holds, and the id of the operation that wrote it. */
export interface DeletedValue {
  readonly value: string
  readonly id: string
}

export class Deletion {
  /**
   * The `@deleted` values that an edit has overruled, with those of their heads that were in the history at that time.
   * As long as the values and these heads stay the same, `find` skips the check: more changes cannot make the deletion
   * valid.
   */
  #outlived = ""

  /**
   * Returns the newest change that deleted the entity; undefined while it is not deleted. `values`: the strings that
   * `@deleted` holds, several if they conflict. `history`: the changes in the document.
   */
  find(values: readonly DeletedValue[], entity: string, history: History): Change | undefined {
    if (values.length === 0) return undefined
    const heads = new Set(values.flatMap(({ value }) => value.split(",")))
    const seen = [...heads].filter((hash) => history.changes.has(hash)).sort()
    const question = JSON.stringify([values, seen])
    if (question === this.#outlived) return undefined
    const unseen: Change[] = []
    history.beyond(seen, (change) => unseen.push(change))
    if (!unseen.every((change) => isDerived(entity, change) || setsOnly(change, DELETED))) {
      this.#outlived = question
      return undefined
    }
    const ids = values.map(({ id }) => id)
    return unseen
      .filter((change) => makesOne(change, ids))
      .sort(byTime)
      .at(-1)
  }
}

/** Whether the change made one of the operations with these ids. */
function makesOne({ actor, startOp, maxOp }: Change, ids: readonly string[]): boolean {
  return ids.some((id) => {
    const [counter, author] = id.split("@")
    return author === actor && Number(counter) >= startOp && Number(counter) <= maxOp
  })
}
