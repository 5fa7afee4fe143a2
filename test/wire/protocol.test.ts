import { readFileSync } from "node:fs"
import * as cborg from "cborg"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { type Code, codes } from "../../src/base/errors.ts"
import {
  type ClientMessage,
  cursorOf,
  decodeClient,
  decodeEntry,
  decodeRelay,
  type Entries,
  encode,
  encodeEntries,
  encodeEntry,
  encodeItem,
  limits,
  position,
  type RelayMessage,
} from "../../src/wire/protocol.ts"
import { canonical, decodeEither, everyMap, outcome, runs } from "./protocol.frames.ts"
import { golden } from "./protocol.golden.ts"
import {
  clientShapes,
  entryKeys,
  entryShape,
  itemShape,
  messageOf,
  relayShapes,
  type Shape,
} from "./protocol.shapes.ts"

describe("every message", () => {
  for (const [t, shape] of Object.entries(clientShapes)) {
    test(`${t} from a client comes back as it was`, () => {
      fc.assert(
        fc.property(messageOf<ClientMessage>(t, shape), (message) => {
          const frame = encode(message)
          expect(decodeClient(frame)).toEqual(message)
          expect(frame).toEqual(canonical(frame))
        }),
        { numRuns: runs },
      )
    })
  }
  for (const [t, shape] of Object.entries(relayShapes)) {
    test(`${t} from a relay comes back as it was`, () => {
      fc.assert(
        fc.property(messageOf<RelayMessage>(t, shape), (message) => {
          const frame = encode(message)
          expect(decodeRelay(frame)).toEqual(message)
          expect(frame).toEqual(canonical(frame))
        }),
        { numRuns: runs },
      )
    })
  }
})

test("an entry has the same bytes in a frame and alone", () => {
  fc.assert(
    fc.property(entryShape, (entry) => {
      expect(decodeEntry(encodeEntry(entry))).toEqual(entry)
      expect(encodeItem({ entry })).toEqual(encodeEntry(entry))
    }),
    { numRuns: runs },
  )
})

test("items that were encoded before make the same frame", () => {
  const shape = fc.tuple(
    messageOf<RelayMessage>("entries", relayShapes.entries),
    fc.array(itemShape, { maxLength: 40 }),
  )
  fc.assert(
    fc.property(shape, ([message, items]) => {
      const { items: _, ...rest } = message as Entries
      expect(encodeEntries(rest, items.map(encodeItem))).toEqual(encode({ ...rest, items }))
    }),
    { numRuns: runs },
  )
})

test("reads a frame in the middle of a Node Buffer, and keeps no reference to it", () => {
  const frame = encode(golden.push.message)
  const inside = Buffer.concat([Buffer.alloc(100), frame, Buffer.alloc(100)]).subarray(100, 100 + frame.length)
  const message = decodeClient(inside)
  expect(message).toEqual(golden.push.message)
  inside.fill(0)
  expect(message).toEqual(golden.push.message)
  if (message?.t !== "push") throw new Error("no push")
  for (const { chunks } of message.entries)
    for (const chunk of chunks) expect(chunk.buffer.byteLength).toBe(chunk.length)
})

test("an idle reconnect costs less than 300 bytes, frame headers included", () => {
  const w = "0190c0de-0000-7000-8000-000000000001"
  const cursor = cursorOf(123_456, new Uint8Array(8).fill(0xc8))
  const pull = encode({ t: "pull", w, cursor, reach: cursor, credit: limits.credit })
  const { message, chunk, ops } = limits
  const first = encode({
    t: "entries",
    w,
    items: [],
    cursor,
    level: true,
    left: 0,
    principal: "local",
    access: "write",
    limits: { message, chunk, ops },
    time: 1_800_000_000_000,
  })
  // RFC 6455, section 5.2: a header has 2 bytes, 2 more from 126 bytes on, and 4 more for a client's mask.
  const header = (frame: Uint8Array) => (frame.length < 126 ? 2 : 4)
  expect(pull.length + header(pull) + 4 + first.length + header(first)).toBeLessThan(300)
})

test("a cursor contains its position, and cursors sort like their positions", () => {
  const hash = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8])
  for (const place of [0, 1, 255, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 7, Number.MAX_SAFE_INTEGER]) {
    expect(position(cursorOf(place, hash))).toBe(place)
    expect(cursorOf(place, hash).subarray(8)).toEqual(hash)
  }
  const inside = Buffer.concat([Buffer.alloc(3), cursorOf(77, hash)]).subarray(3)
  expect(position(inside)).toBe(77)
})

describe("compatibility", () => {
  test("messages of unknown types are ignored, whole frames of them included", () => {
    for (const decode of [decodeClient, decodeRelay]) {
      expect(decode(cborg.encode({ t: "later", w: { deep: [1, [2.5, null, true, new Uint8Array(3)]] } }))).toBeNull()
      expect(decode(cborg.encode({ t: "__proto__" }))).toBeNull()
      expect(decode(cborg.encode({ t: "constructor" }))).toBeNull()
    }
    expect(decodeClient(encode(golden.entries.message))).toBeNull()
    expect(decodeRelay(encode(golden.push.message))).toBeNull()
  })

  test("unknown keys are ignored at every level", () => {
    const strange = { zz: [{ a: 1 }, "x"], __proto: 1, "a-longer-key-of-later": { b: null } }
    for (const { message } of Object.values(golden)) {
      const plain = cborg.decode(encode(message))
      expect(decodeEither(cborg.encode(everyMap(plain, (map) => ({ ...map, ...strange }))), message)).toEqual(message)
    }
  })

  test("a __proto__ key is just another unknown key", () => {
    for (const { message } of Object.values(golden)) {
      const plain = cborg.decode(encode(message))
      const frame = cborg.encode(
        everyMap(plain, (map) =>
          Object.defineProperty({ ...map }, "__proto__", { value: { w: "x" }, enumerable: true }),
        ),
      )
      const decoded = decodeEither(frame, message)
      expect(decoded).toEqual(message)
      expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype)
    }
  })

  test("an unknown error code is read as REJECTED", () => {
    const { w, id, entity, hash } = golden.reject.message as Extract<RelayMessage, { t: "reject" }>
    const plain = cborg.decode(encode({ t: "reject", w, id, entity, hash, code: "QUOTA" }))
    const reject = decodeRelay(cborg.encode({ ...plain, code: "MOON_PHASE" }))
    expect(reject).toMatchObject({ code: "REJECTED" })
    expect(outcome(() => decodeRelay(cborg.encode({ ...plain, code: "moon phase" })))).toBe("MESSAGE_BAD")
  })

  test("the bytes of this version stay as they are", () => {
    for (const [name, { message, frame }] of Object.entries(golden)) {
      expect(Buffer.from(encode(message)).toString("hex"), name).toBe(frame)
      expect(decodeEither(Buffer.from(frame, "hex"), message), name).toEqual(message)
    }
    expect(Object.values(golden).map(({ message }) => message.t)).toEqual(
      expect.arrayContaining([...Object.keys(clientShapes), ...Object.keys(relayShapes)]),
    )
  })
})

describe("docs/protocol.md", () => {
  const page = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf8")
  const cddl = /```cddl\n(.*?)```/s.exec(page)![1]!.replaceAll(/;.*/g, "")

  /** The keys of one rule of the CDDL. An optional key x is "?x". */
  const keysOf = (rule: string) => {
    const body = new RegExp(`^${rule} += \\{([^}]*)\\}`, "m").exec(cddl)?.[1] ?? `no rule ${rule}`
    return [...body.matchAll(/(\? )?\b([a-z][A-Za-z0-9]*): /g)]
      .map(([, optional, key]) => (optional ? `?${key}` : key))
      .sort()
  }
  const keysIn = ({ needs, may }: Shape, more: readonly string[]) =>
    [...more, ...Object.keys(needs), ...Object.keys(may).map((key) => `?${key}`)].sort()

  test("gives every message and entry its keys", () => {
    for (const [t, shape] of Object.entries(clientShapes))
      expect(keysOf(t === "grants" ? "ask-grants" : t), t).toEqual(keysIn(shape, ["t"]))
    for (const [t, shape] of Object.entries(relayShapes)) expect(keysOf(t), t).toEqual(keysIn(shape, ["t"]))
    const { entity: _e, collection: _c, kind: _k, chunks: _s, ...needs } = entryKeys.needs
    expect(keysOf("entry")).toEqual(keysIn({ ...entryKeys, needs }, ["e", "c", "?s", "?kind"]))
  })

  test("names every message in the choice of its direction", () => {
    const choice = (rule: string) =>
      new RegExp(`^${rule} += (.*)$`, "m")
        .exec(cddl)![1]!
        .split(" / ")
        .map((name) => name.trim())
    expect(choice("client-message").map((name) => (name === "ask-grants" ? "grants" : name))).toEqual(
      Object.keys(clientShapes),
    )
    expect(choice("relay-message")).toEqual(Object.keys(relayShapes))
  })

  test("says what each error code that may be on the wire asks of the receiver", () => {
    const section = page.slice(page.indexOf("## 6."), page.indexOf("## 7."))
    const local = codes.slice(0, codes.indexOf("RELAY_UNREACHABLE") + 1).filter((code) => !onTheWire.has(code))
    for (const code of codes) {
      if (local.includes(code)) expect(section, code).not.toMatch(new RegExp(`\`${code}\``))
      else expect(section, code).toMatch(new RegExp(`\`${code}\``))
    }
  })

  test("names every limit", () => {
    const section = page.slice(page.indexOf("## 7."), page.indexOf("## 8."))
    for (const [name, value] of Object.entries(limits)) {
      const row = section.split("\n").find((line) => line.startsWith(`| \`${name}\` `)) ?? `no row for ${name}`
      const shown =
        value >= 2 ** 20
          ? `${value / 2 ** 20} MiB`
          : name === "presence"
            ? `${value / 1024} KiB`
            : value.toLocaleString("en-US")
      expect(row).toContain(` ${shown} `.trimEnd())
    }
  })
})

/** Codes that an app may get without a relay, and that a relay sends as well. */
const onTheWire: ReadonlySet<Code> = new Set<Code>(["ENTITY_PURGED", "COLLECTION_MISMATCH", "TOO_LARGE"])
