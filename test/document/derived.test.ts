import { beforeAll, expect, test } from "vitest"
import { collectionMadeBy, genesisOf, templatesKept } from "../../src/document/derived.ts"
import { loadAutomerge } from "../../src/document/entity.ts"

beforeAll(() => loadAutomerge())

test("at most 256 templates are kept, however many collections the changes of others name", () => {
  const first = genesisOf("entity", "collection0").hash
  for (let n = 0; n < 1000; n++) {
    const name = `collection${n}`
    expect(collectionMadeBy("entity", genesisOf("entity", name))).toBe(name)
  }
  expect(templatesKept()).toBeLessThanOrEqual(256)
  expect(genesisOf("entity", "collection0").hash).toBe(first)
})
