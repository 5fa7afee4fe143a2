/** Finds the saved changes of an entity that a document on a screen does not show. */
import { HeadwaterError } from "../base/errors.ts"
import type { Entity } from "../document/entity.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Live } from "./live-document.ts"
import type { Replica } from "./replica.ts"
import type { Transaction } from "./transaction.ts"

/** Where the replica's live document stood when its changes were read. */
export interface Seen {
  readonly live: Live
  /** How many changes it had. */
  readonly size: number
}

interface ToShow extends Seen {
  /** Saved changes; some of them may be on the screen. */
  readonly fresh: readonly Change[]
  /** Every saved change, if the document on the screen must be made again; else undefined. */
  readonly all: readonly Change[] | undefined
}

interface Screen {
  readonly seen: Seen
  /** Changes of the document on the screen that are not saved yet. */
  readonly unsaved: ReadonlySet<Hash>
  /** Whether the document must be made again in any case. */
  readonly again: boolean
}

/**
 * Reads, in a step, which saved changes `shown` does not have. The document must be made again if `shown` has changes
 * that are not there any more. Everything is read in the step, because later steps add changes that are not saved yet.
 * "gone": no change is left on this device. Throws `DOCUMENT_FAILED` when the disk has damaged changes without which
 * there is no document.
 */
export async function changesToShow(
  { documents }: Replica,
  tx: Transaction,
  shown: Entity,
  { seen, unsaved, again }: Screen,
): Promise<ToShow | "gone"> {
  const { id } = shown
  const live = tx.exists(id) ? await documents.live(id, tx) : undefined
  if (live === undefined) {
    if (!tx.exists(id) || (await documents.saved.isGone(id, tx))) return "gone"
    throw new HeadwaterError("DOCUMENT_FAILED", "the disk has damaged this entity", { entity: id })
  }
  const fresh = seen.live === live ? live.entity.changesSince(seen.size) : missingIn(shown, live)
  const lacks = again || shown.heads.some((hash) => !live.changes.has(hash) && !unsaved.has(hash))
  return { live, size: live.changes.size, fresh, all: lacks ? [...live.changes.values()] : undefined }
}

function missingIn(shown: Entity, live: Live): Change[] {
  const missing: Change[] = []
  for (const hash of live.changes.keys()) {
    if (!shown.changes.has(hash)) missing.push(live.changes.get(hash) as Change)
  }
  return missing
}
