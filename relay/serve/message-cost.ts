/** Estimates the memory that a decoded message takes until it is answered, besides the bytes of its frame. */
import { type ClientMessage, partsOf } from "../../src/wire/protocol.ts"
import { MESSAGE_COST } from "./unanswered-messages.ts"

/** Bytes for each part (chunk, head) that is decoded into an object of its own. */
const PART_COST = 512
/** Further bytes for each chunk of a push, because decoding the chunk also reads the change in it. */
const CHANGE_COST = 256

/**
 * Returns the estimate in bytes. The bytes of the decoded chunks count as well, because they may be many times as many
 * as the bytes of the frame.
 */
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
