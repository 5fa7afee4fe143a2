import { runInNewContext } from "node:vm"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { storeConformance } from "../../src/store/conformance.ts"
import { sameValue } from "../../src/store/key.ts"
import { checkStore, type StoreStep } from "../../src/store/model.ts"
import type { Key, Value, Write } from "../../src/store/store.ts"
import { fixtures } from "../support/store/fixtures.ts"

const long = process.env.HEADWATER_LONG === "1"

for (const [name, make] of Object.entries(fixtures)) {
  describe(name, () => {
    storeConformance(name, make, { test })

    test(`${name} behaves like a sorted map, for any keys, values and ranges`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
          const fixture = await make()
          const release = await fixture.store.claim("w")
          try {
            await checkStore(fixture.store, steps, { release, reopen: fixture.reopen })
          } finally {
            await fixture.destroy()
          }
        }),
        { numRuns: long ? 1000 : 40 },
      )
    })

    test("bytes that were made in another realm are saved, and equal to the same bytes of this realm", async () => {
      const fixture = await make()
      const release = await fixture.store.claim("w")
      const bytes = runInNewContext("new Uint8Array([1, 2, 3])") as Uint8Array
      await fixture.store.commit([[["a"], bytes]])
      expect(Array.from((await fixture.store.get(["a"])) as Uint8Array)).toEqual([1, 2, 3])
      await fixture.store.commit([[["a"], "x"]], { expect: [[["a"], bytes]] })
      expect(await fixture.store.get(["a"])).toBe("x")
      await release()
      await fixture.destroy()
    })
  })
}

test("bytes that a disk's driver gives in another realm equal the same bytes of this realm, and no others", () => {
  const found = runInNewContext("new Uint8Array([1, 2, 3])") as Uint8Array
  expect([sameValue(found, Uint8Array.of(1, 2, 3)), sameValue(found, Uint8Array.of(1, 2))]).toEqual([true, false])
})

const printable = fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code))
const part = fc.oneof(
  fc.constantFrom("a", "b", "a ", "ab"),
  fc.string({ unit: printable, minLength: 1, maxLength: 3 }),
  fc.string({ unit: printable, minLength: 250, maxLength: 256 }),
)
const key: fc.Arbitrary<Key> = fc.array(part, { minLength: 1, maxLength: 4 })
const value: fc.Arbitrary<Value> = fc.oneof(fc.string({ unit: "binary" }), fc.uint8Array())
const maybe = fc.option(value, { nil: undefined, freq: 3 })
const write: fc.Arbitrary<Write> = fc.tuple(key, maybe)
const step: fc.Arbitrary<StoreStep> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ commit: fc.array(write, { maxLength: 8 }) }) },
  { weight: 2, arbitrary: fc.record({ commit: fc.array(write), expect: fc.array(write, { maxLength: 2 }) }) },
  { weight: 2, arbitrary: fc.record({ get: key }) },
  {
    weight: 6,
    arbitrary: fc.record(
      { list: fc.oneof(fc.constant([]), key), after: key, limit: fc.integer({ min: 0, max: 20 }) },
      { requiredKeys: ["list"] },
    ),
  },
  { weight: 1, arbitrary: fc.constant({ reopen: true } as const) },
)
