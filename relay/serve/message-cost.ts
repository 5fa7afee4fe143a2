/** Estimates the memory that a decoded message takes until it is answered, besides the bytes of its frame. */
import { type ClientMessage, partsOf } from "../../src/wire/protocol.ts"
import { MESSAGE_COST } from "./unanswered-messages.ts"

/** Bytes for each part (chunk, head) that is decoded into an object of its own. */
const PART_COST = 512
/** Bytes that each change takes besides, because decoding a chunk reads it. */
const CHANGE_COST = 256

/** Returns the bytes. The chunks of a message may have many times as many as its frame, so they count as well. */
export function costOf(message: ClientMessage): number {
  let bytes = MESSAGE_COST
  if (message.t === "have") for (const [, heads] of message.page) bytes += PART_COST * heads.length
  if (message.t === "push")
    for (const entry of message.entries) {
      bytes += PART_COST * partsOf(entry)
      for (const { length } of entry.chunks) bytes += length + CHANGE_COST
    }
  return bytes
}
