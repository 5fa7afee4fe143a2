/**
 * Compares a page of `have` with the log and answers with `want`, which names the entities of which the log lacks a
 * change. A page is compared in parts, so that a page of many heads neither keeps other work waiting nor takes more
 * memory than one part needs.
 */
import type { EntityHeads, Hash, Have, Want } from "../../src/wire/protocol.ts"
import type { Log } from "../log/contract.ts"
import { sameHeads } from "./admission-rules.ts"
import type { HealMarks } from "./heal-marks.ts"
import type { Stream } from "./stream.ts"

/** The connection that has sent the `have`. */
export interface Asker {
  readonly closed: boolean
  send(want: Want): void
  /** Resolves when the socket is no longer full. Undefined: it is not full. */
  room(): Promise<void> | undefined
  /** Lets other work have its turn. */
  breathe(): Promise<void>
}

/**
 * Sends one or more wants. After the last page of a heal, makes the stream send the entries that the replica lacks.
 * `comparedHeads`: the number of entities and heads, of both sides together, that one part compares.
 */
export async function answerHave(stream: Stream, have: Have, asker: Asker, comparedHeads: number): Promise<void> {
  const { w, page, more, single } = have
  for (let from = 0; !asker.closed; await asker.breathe()) {
    await asker.room()
    const { to, lacking } = await stream.workspace.turn(async (log) => {
      // Compare the replica's heads with flushed entries only. A crash can lose an entry that is not flushed. If the
      // `want` counted its changes as present, the replica would not push them again.
      const flushed = await log.flushed(log.appended)
      const marks = single || asker.closed ? undefined : stream.marks(flushed)
      return compare(log, have, from, comparedHeads, marks)
    })
    const last = to >= page.length
    // Every `have` is answered, if only with an empty `want`.
    if (lacking.length > 0 || last) asker.send({ t: "want", w, page: lacking, ...(!last && { more: true }) })
    if (last) break
    from = to
  }
  if (!single && !more) stream.heal()
}

/**
 * Compares one part of a page with the log, from the index `from` on. Returns the index after the part, and the
 * entities of which the log lacks a change, each with the heads that the log has. When the `have` is `single` (sent
 * after `DEPS_UNKNOWN` or `SEQ_GAP`), returns all entities of the part. Purged entities are always left out. Adds to
 * `marks` the entities that have the same heads on both sides.
 */
async function compare(log: Log, { page, single }: Have, from: number, comparedHeads: number, marks?: HealMarks) {
  const lacking: EntityHeads[] = []
  let to = from
  for (let compared = 0; to < page.length && compared < comparedHeads; to++) {
    const [entity, theirs] = page[to]!
    const found = log.entity(entity)
    const state = found instanceof Promise ? await found : found
    const heads = state?.heads ?? []
    compared += 1 + heads.length + theirs.length
    if (state?.purged !== undefined) continue
    if (single) lacking.push([entity, heads])
    else if (state && sameHeads(heads, theirs) && !log.hasOrphans(entity)) marks?.add(log.key(entity))
    else if (await lacks(log, entity, theirs)) lacking.push([entity, heads])
  }
  return { to, lacking }
}

/** Whether the log lacks one of these heads. */
async function lacks(log: Log, entity: string, heads: readonly Hash[]): Promise<boolean> {
  for (const head of heads) {
    const known = log.known(entity, head)
    if (!(known instanceof Promise ? await known : known)) return true
  }
  return false
}
