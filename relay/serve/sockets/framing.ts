/**
 * Makes WebSocket frames (RFC 6455, section 5.2) with header and payload in one buffer. The WebSocket library passes
 * both to the socket separately, which doubles the cost of a small frame, and makes the header again for each socket.
 */
import { asBuffer } from "../../log/bytes.ts"

/** A whole message of binary data: the bits FIN and opcode 2. */
const BINARY = 0x82
/** The longest payload whose length fits into two bytes of the header. A longer payload needs eight bytes for it. */
const LONGEST = 2 ** 16 - 1

export class Framing {
  #payload: Uint8Array | undefined
  #frame: Buffer | undefined

  /** Returns the frame of a payload of at most 65,535 bytes. The frame of the last payload is kept until `forget`. */
  of(payload: Uint8Array): Buffer {
    if (this.#payload === payload && this.#frame) return this.#frame
    const { length } = payload
    if (length > LONGEST) throw new RangeError(`a payload has ${length} bytes, more than ${LONGEST}`)
    const header = length < 126 ? 2 : 4
    const frame = Buffer.allocUnsafe(header + length)
    frame[0] = BINARY
    frame[1] = length < 126 ? length : 126
    if (length >= 126) frame.writeUInt16BE(length, 2)
    asBuffer(payload).copy(frame, header)
    this.#payload = payload
    this.#frame = frame
    return frame
  }

  forget(): void {
    this.#payload = undefined
    this.#frame = undefined
  }
}
