import { runInNewContext } from "node:vm"
import { expect, test } from "vitest"
import { isBytes, isDate } from "../../src/base/realms.ts"

const elsewhere = (code: string): unknown => runInNewContext(code)

test("bytes are recognised in whatever realm they were made, and nothing else is", () => {
  for (const bytes of [new Uint8Array(1), Buffer.alloc(1), elsewhere("new Uint8Array(1)")])
    expect(isBytes(bytes)).toBe(true)
  for (const other of [null, "", [1], { length: 1 }, new Uint16Array(1), new DataView(new ArrayBuffer(1))]) {
    expect(isBytes(other)).toBe(false)
  }
})

test("a date is recognised in whatever realm it was made, and nothing else is", () => {
  for (const date of [new Date(), elsewhere("new Date()")]) expect(isDate(date)).toBe(true)
  for (const other of [null, 0, { getTime: () => 0 }]) expect(isDate(other)).toBe(false)
})
