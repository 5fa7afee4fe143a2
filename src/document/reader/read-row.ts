/** Reads an entity or makes its row from its changes, without Automerge, or declines the entity. */

import type { AnyDef } from "../../schema/schema.ts"
import type { Change } from "../../wire/chunk.ts"
import type { Hash } from "../../wire/protocol.ts"
import { Admission, type Judged, trustedOf } from "../admission.ts"
import type { Facts } from "../facts.ts"
import { causalOrder } from "../history/graph.ts"
import { History } from "../history/history.ts"
import { type ProjectedRow, project } from "../projection.ts"
import { Declined, decline } from "./declined.ts"
import { Reader } from "./reader.ts"

export interface ReadRow {
  readonly collection: string
  readonly row: ProjectedRow
  readonly facts: Facts
  /** `bad` is empty, because the reader declines a history with a bad change. */
  readonly verdict: Judged
}

/**
 * Reads an entity whose changes are known to be sound. Returns undefined when Automerge must read it, when a dep is
 * missing, or when there are no changes.
 */
export function readSound(entity: string, changes: readonly Change[]): Reader | undefined {
  const history = new History()
  const reader = new Reader(entity, history)
  const ordered = causalOrder(changes)
  if (ordered.length < changes.length || changes.length === 0) return undefined
  return accepted(() => {
    for (const change of ordered) {
      reader.read(change)
      history.add(change)
    }
    return reader
  })
}

/** Calls `read`, a function that uses a reader. Returns undefined when the reader declines. */
export function accepted<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof Declined) return undefined
    throw error
  }
}

/**
 * Judges `suspects` and makes the row. All other changes are known to be sound. Returns the reason, a string for
 * statistics, when the reader declines the entity.
 *
 * When a row is returned, all changes are sound, except those that wait for a missing dep. The verdict is the one that
 * `verdicts` would give. The row is, byte for byte, the one that `project` would make of the hydrated entity.
 */
export function readRow(
  entity: string,
  changes: Iterable<Change>,
  suspects: ReadonlySet<Hash>,
  defOf: (collection: string) => AnyDef | undefined,
): ReadRow | string {
  const history = new History()
  const reader = new Reader(entity, history)
  const given = [...changes]
  try {
    for (const change of trustedOf(given, suspects)) {
      reader.read(change)
      history.add(change)
    }
    const admission = new Admission(entity, history, (change, exists) => reader.read(change, exists))
    const { bad, waiting } = admission.judge(given)
    if (bad.size > 0) decline("a bad change")
    if (history.order.length === 0) decline("no change but waiting ones")
    const { collection, facts } = reader
    const row = project(reader, defOf(collection))
    return { collection, row, facts, verdict: { order: history.order, bad, waiting, history } }
  } catch (error) {
    if (error instanceof Declined) return error.reason
    throw error
  }
}
