/** Puts a change chunk together; `wire/layout.ts` says how its parts are ordered. */

import { bytesOfHex } from "../../base/hash.ts"
import { CHANGE, HASHED_FROM, MAGIC } from "../../wire/layout.ts"
import type { Actor, Hash } from "../../wire/protocol.ts"
import type { NewOperations } from "./new-operations.ts"
import { Output } from "./output.ts"

/** The header of a change that is an actor's first one and has no message. */
export interface Header {
  readonly deps: readonly Hash[]
  readonly actor: Actor
  readonly startOp: number
  /** s since 1970 */
  readonly time: number
  /** The actors besides the author that the operations name, sorted. */
  readonly others: readonly Actor[]
}

/** Makes the bytes of a change chunk, without their checksum. */
export function encodeChange({ deps, actor, startOp, time, others }: Header, operations: NewOperations): Uint8Array {
  const body = new Output(scratch)
  body.uleb(deps.length)
  for (const dep of [...deps].sort()) body.raw(bytesOfHex(dep))
  writeActor(body, actor)
  body.uleb(1) // seq
  body.uleb(startOp)
  body.sleb(time)
  body.uleb(0) // the length of the message
  body.uleb(others.length)
  for (const other of others) writeActor(body, other)
  operations.write(body)

  const start = new Output(startScratch)
  for (const byte of MAGIC) start.byte(byte)
  for (let at = MAGIC.length; at < HASHED_FROM; at++) start.byte(0)
  start.byte(CHANGE)
  start.uleb(body.length)
  const chunk = new Uint8Array(start.length + body.length)
  chunk.set(start.written())
  chunk.set(body.written(), start.length)
  return chunk
}

/** What comes before the body, and the body, are put together here. */
const startScratch = new Uint8Array(32)
const scratch = new Uint8Array(2 ** 14)

function writeActor(out: Output, actor: Actor): void {
  const bytes = bytesOfHex(actor)
  out.uleb(bytes.length)
  out.raw(bytes)
}
