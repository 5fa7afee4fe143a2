/** Encodes a change chunk. `wire/layout.ts` says in which order its parts come. */

import { bytesOfHex } from "../../base/hash.ts"
import { ChunkWriter } from "../../wire/layout.ts"
import type { BytesWriter } from "../../wire/leb128-writer.ts"
import type { Actor, Hash } from "../../wire/protocol.ts"
import type { NewOperations } from "./new-operations.ts"

/** The header of a change without a message. */
export interface Header {
  readonly deps: readonly Hash[]
  readonly actor: Actor
  readonly seq: number
  readonly startOp: number
  /** s since 1970 */
  readonly time: number
  /** The actors besides the author that the operations name, sorted. */
  readonly others: readonly Actor[]
}

/** Makes the bytes of a change chunk, without their checksum (`sealChange` writes it). */
export function encodeChange(
  { deps, actor, seq, startOp, time, others }: Header,
  operations: NewOperations,
): Uint8Array {
  const body = new ChunkWriter(scratch)
  body.uleb(deps.length)
  for (const dep of [...deps].sort()) body.bytes(bytesOfHex(dep))
  writeActor(body, actor)
  body.uleb(seq)
  body.uleb(startOp)
  body.sleb(time)
  body.uleb(0) // the length of the message
  body.uleb(others.length)
  for (const other of others) writeActor(body, other)
  operations.write(body)
  return body.chunk()
}

/** The buffer for encoding a change. It can be shared, because one change is encoded before the next begins. */
const scratch = new Uint8Array(2 ** 14)

function writeActor(out: BytesWriter, actor: Actor): void {
  const bytes = bytesOfHex(actor)
  out.uleb(bytes.length)
  out.bytes(bytes)
}
