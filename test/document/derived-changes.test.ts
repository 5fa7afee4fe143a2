import fc from "fast-check"
import { beforeAll, expect, test } from "vitest"
import { newHandle } from "../../src/document/automerge.ts"
import { collectionMadeBy, genesisOf, textContainer } from "../../src/document/derived-changes.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { readChange } from "../../src/wire/chunk.ts"
import { templatesKept } from "../../src/wire/named-changes.ts"
import { runs } from "../support/histories.ts"

beforeAll(() => loadAutomerge())

const entityId = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/)
const name = fc.oneof(fc.string({ unit: "binary", maxLength: 200 }), fc.constantFrom("notes", "", "body", "Büro", "😀"))

test("Automerge makes the same genesis, and the same text container on top of it", () => {
  const property = fc.property(entityId, name, name, (entity, collection, key) => {
    const genesis = genesisOf(entity, collection)
    const author = newHandle(genesis.actor)
    author.put("_root", "@type", collection, "str")
    author.commit(undefined, 0)
    expect(genesis).toEqual(readChange(author.getLastLocalChange() as Uint8Array))
    author.free()

    const container = textContainer(entity, genesis, key)
    const other = newHandle(container.actor)
    other.applyChanges([genesis.chunk])
    expect(other.putObject("_root", key, "")).toBe(`2@${container.actor}`)
    other.commit(undefined, 0)
    expect(container).toEqual(readChange(other.getLastLocalChange() as Uint8Array))
    other.free()
  })
  fc.assert(property, { numRuns: runs(300, 10_000) })
})

test("a genesis names its collection, if the name is one that a collection can have", () => {
  expect(collectionMadeBy("e", genesisOf("e", "notes"))).toBe("notes")
  expect(collectionMadeBy("other", genesisOf("e", "notes"))).toBe(undefined)
  expect(collectionMadeBy("e", genesisOf("e", "Büro"))).toBe(undefined)
  expect(collectionMadeBy("e", textContainer("e", genesisOf("e", "notes"), "body"))).toBe(undefined)
})

test("at most 256 templates are kept, however many collections the changes of others name", () => {
  const first = genesisOf("entity", "collection0").hash
  for (let n = 0; n < 1000; n++) {
    const name = `collection${n}`
    expect(collectionMadeBy("entity", genesisOf("entity", name))).toBe(name)
  }
  expect(templatesKept()).toBeLessThanOrEqual(256)
  expect(genesisOf("entity", "collection0").hash).toBe(first)
})
