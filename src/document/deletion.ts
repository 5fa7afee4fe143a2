/**
 * Delete, edit-wins. `@deleted` holds the heads that the deleter saw, sorted and joined by commas. The entity is deleted
 * while there is such a value and every change that is neither one of these heads nor an ancestor of one is derived or
 * only sets `@deleted`. So whatever the deleter had not seen brings the entity back, and so does removing the value.
 */

import { type Change, isDerived, readChange } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Handle } from "./automerge.ts"
import { byTime } from "./history.ts"
import { setsOnly } from "./operations.ts"

export const DELETED = "@deleted"

export const deletedValue = (heads: readonly Hash[]): string => [...heads].sort().join(",")

export class Deletion {
  /** The values that an edit outlived, and how many of their heads were known: more changes cannot undo that. */
  #outlived = ""

  /** The newest change that deleted the entity, or undefined while it lives. */
  find(handle: Handle, entity: string, holds: (hash: Hash) => boolean): Change | undefined {
    const values = handle.getAll("_root", DELETED).filter(([type]) => type === "str")
    if (values.length === 0) return undefined
    const seen = [...new Set(values.flatMap(([, value]) => String(value).split(",")))].filter(holds).sort()
    const question = JSON.stringify([values, seen])
    if (question === this.#outlived) return undefined
    const unseen: Change[] = []
    for (const chunk of handle.getChanges(seen)) {
      const change = readChange(chunk)
      if (!isDerived(entity, change) && !setsOnly(change, DELETED)) {
        this.#outlived = question
        return undefined
      }
      unseen.push(change)
    }
    const ids = values.map((value) => String(value[2]))
    return unseen
      .filter((change) => makesOne(change, ids))
      .sort(byTime)
      .at(-1)
  }
}

function makesOne({ actor, startOp, maxOp }: Change, ids: readonly string[]): boolean {
  return ids.some((id) => {
    const [counter, author] = id.split("@")
    return author === actor && Number(counter) >= startOp && Number(counter) <= maxOp
  })
}
