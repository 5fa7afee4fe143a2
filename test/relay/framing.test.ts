import { describe, expect, it } from "vitest"
import * as ws from "ws"
import { Framing } from "../../relay/serve/sockets/framing.ts"

/** The framing of the WebSocket library, which the types of the library leave out. */
const { frame } = (ws as unknown as { Sender: { frame(data: Buffer, options: object): Buffer[] } }).Sender
const BINARY = { fin: true, opcode: 2, mask: false, readOnly: true }

describe("a frame made here", () => {
  it.each([0, 1, 125, 126, 127, 4095, 65_535])("of %i bytes is what the WebSocket library would send", (length) => {
    const payload = Buffer.alloc(length, 7)
    expect(new Framing().of(payload)).toEqual(Buffer.concat(frame(payload, BINARY)))
  })

  it("is made once for all sockets that get the same payload one after the other", () => {
    const framing = new Framing()
    const [one, other] = [new Uint8Array(3), new Uint8Array(3)]
    expect(framing.of(one)).toBe(framing.of(one))
    const first = framing.of(one)
    expect(framing.of(other)).not.toBe(first)
    const again = framing.of(one)
    framing.forget()
    expect(framing.of(one)).not.toBe(again)
    expect(framing.of(one)).toEqual(first)
  })

  it("has no payload whose length does not fit", () => {
    expect(() => new Framing().of(new Uint8Array(65_536))).toThrow(RangeError)
  })
})
