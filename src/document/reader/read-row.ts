/** Reads an entity, or makes its row, from its changes without Automerge; or leaves the entity to Automerge. */

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
  /** `bad` is empty, because a history with a bad change is left to Automerge. */
  readonly verdict: Judged
}

/**
 * Reads an entity whose changes are known to be sound. Returns undefined when it leaves the entity to Automerge, also
 * because a change depends on one that is not here.
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

/** Runs a function of a reader; returns undefined when the reader leaves the entity to Automerge. */
export function accepted<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof Declined) return undefined
    throw error
  }
}

/**
 * Judges `suspects` and makes the row. All other changes are known to be sound. When the entity must be left to
 * Automerge, returns the reason, a string for statistics. When a row is returned, all changes are sound, except those
 * that wait for a missing dep. `verdicts` would give the same verdict, and `project` would make the same row, byte for
 * byte, from the hydrated entity.
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
