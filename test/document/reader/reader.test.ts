import fc from "fast-check"
import { beforeAll, expect, test } from "vitest"
import { Entity, loadAutomerge } from "../../../src/document/entity.ts"
import { causalOrder } from "../../../src/document/graph.ts"
import { History } from "../../../src/document/history.ts"
import { project } from "../../../src/document/projection.ts"
import { readRow } from "../../../src/document/reader/read-row.ts"
import type { AnyDef } from "../../../src/schema/schema.ts"
import type { Change } from "../../../src/wire/chunk.ts"
import { actorOf, ID, notes, runs } from "../../support/histories.ts"
import { hashes } from "../../support/hostile.ts"
import { randomHistory } from "./random-history.ts"

beforeAll(() => loadAutomerge())

/** What Automerge makes of these changes, all of which it must give back byte for byte. */
function byAutomerge(changes: readonly Change[], def: AnyDef | undefined) {
  const entity = Entity.hydrate(ID, History.of(causalOrder(changes)), actorOf(9), hashes(changes))
  try {
    return { row: JSON.stringify(project(entity, def)), facts: entity.facts }
  } finally {
    entity.free()
  }
}

test("a row that was read from random changes is the row that Automerge makes of them", () => {
  const seen = new Map<string, number>()
  const count = (what: string) => void seen.set(what, (seen.get(what) ?? 0) + 1)
  const property = fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), fc.boolean(), (seed, known) => {
    const changes = randomHistory(seed)
    const def = known ? notes : undefined
    const suspects = hashes(changes.filter((_, i) => seed % (i + 2) > 0))
    const read = readRow(ID, changes, seed % 5 === 0 ? suspects : hashes(changes), () => def)
    count(typeof read === "string" ? read : "read")
    if (typeof read === "string") return
    const { row, facts } = byAutomerge(changes, def)
    expect(JSON.stringify(read.row)).toBe(row)
    expect(read.facts).toEqual(facts)
    expect(read.verdict.bad.size + read.verdict.waiting.length).toBe(0)
  })
  fc.assert(property, { numRuns: runs(2000, 100_000) })
  console.log(seen)
}, 3_600_000)
