/** Reads an entity, or makes its row, from its changes without Automerge; or leaves the entity to Automerge. */

import type { AnyDef } from "../../schema/schema.ts"
import type { Change } from "../../wire/chunk.ts"
import type { Hash } from "../../wire/protocol.ts"
import { Admission, type Judged, trustedOf } from "../admission.ts"
import type { Facts } from "../facts.ts"
import { causalOrder } from "../graph.ts"
import { History } from "../history.ts"
import { type ProjectedRow, project } from "../projection.ts"
import { Declined, decline } from "./declined.ts"
import { Reader } from "./reader.ts"

export interface ReadRow {
  readonly collection: string
  readonly row: ProjectedRow
  readonly facts: Facts
  /** No change is bad: a history with a bad change is left to Automerge. */
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
 * Judges `suspects`, whereas the other changes are known to be sound, and makes the row. Returns a string when it
 * leaves the entity to Automerge: the reason, for statistics. Otherwise all changes but the waiting ones are sound:
 * `verdicts` would give the same verdict, and `project` of the hydrated entity the same row, byte for byte.
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
