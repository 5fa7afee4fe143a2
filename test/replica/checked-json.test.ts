import { expect, test } from "vitest"
import { parseJson, writeJson } from "../../src/replica/disk/checked-json.ts"

const KEY = ["w", "bad", "e", "ff"]
const RECORD = { code: "CHUNK_BAD", automerge: "3.5.0", é: "日本\u{1f30a}", n: 12 }

test("a record is read as it was written", () => {
  for (const record of [RECORD, [RECORD, RECORD], null, {}, "x".repeat(100_000)])
    expect(parseJson(KEY, writeJson(KEY, record))).toEqual(record)
})

test("a record with any one letter replaced, left out or repeated is damaged", () => {
  const value = writeJson(KEY, RECORD)
  for (let at = 0; at < value.length; at++) {
    const [before, letter, after] = [value.slice(0, at), value[at] as string, value.slice(at + 1)]
    for (const instead of ["", letter + letter, letter === "0" ? "1" : "0", " "])
      expect(parseJson(KEY, before + instead + after), `${at} ${instead}`).toBeUndefined()
  }
})

test("a record under another key is damaged", () => {
  const value = writeJson(KEY, RECORD)
  for (const key of [
    ["w", "bad", "e", "fe"],
    ["w", "bad", "ef", "f"],
    ["w", "bad", "e"],
  ])
    expect(parseJson(key, value)).toBeUndefined()
})

test("text without a checksum, and bytes, are damaged", () => {
  for (const value of ["", "null", "{}", JSON.stringify(RECORD), new Uint8Array(), undefined])
    expect(parseJson(KEY, value)).toBeUndefined()
})
