/** Compares the reader with Automerge, which must read all changes that the reader accepts in the same way. */
import fc from "fast-check"
import { expect } from "vitest"
import { Entity } from "../../../src/document/entity.ts"
import { causalOrder } from "../../../src/document/history/graph.ts"
import { History } from "../../../src/document/history/history.ts"
import { project } from "../../../src/document/projection.ts"
import { readRow } from "../../../src/document/reader/read-row.ts"
import type { AnyDef } from "../../../src/schema/schema.ts"
import type { Change } from "../../../src/wire/chunk.ts"
import { actorOf, ID, notes } from "../../support/histories.ts"
import { hashes } from "../../support/hostile.ts"
import { mutated } from "./mutants.ts"
import { randomHistory } from "./random-history.ts"

const seeds = fc.integer({ min: 1, max: 2 ** 31 - 1 })

/** How often each outcome has happened, by its name. */
export class Seen extends Map<string, number> {
  count(what: string): void {
    this.set(what, (this.get(what) ?? 0) + 1)
  }
}

/** The row and the facts that Automerge makes of these changes. Throws if it does not give back each byte for byte. */
export function byAutomerge(changes: readonly Change[], def: AnyDef | undefined) {
  const entity = Entity.hydrate(ID, History.of(causalOrder(changes)), actorOf(9), hashes(changes))
  try {
    return { row: JSON.stringify(project(entity, def)), facts: entity.facts }
  } finally {
    entity.free()
  }
}

/** Checks random honest histories. `seed`: makes the run the same each time; without it, each run is another. */
export function checkHistories(numRuns: number, seed?: number): Seen {
  const seen = new Seen()
  const property = fc.property(seeds, fc.boolean(), (one, isKnown) => {
    const changes = randomHistory(one)
    const def = isKnown ? notes : undefined
    const some = changes.filter((_, i) => one % (i + 2) > 0)
    const read = readRow(ID, changes, hashes(one % 5 === 0 ? some : changes), () => def)
    seen.count(typeof read === "string" ? read : "read")
    if (typeof read === "string") return
    const { row, facts } = byAutomerge(changes, def)
    expect(JSON.stringify(read.row)).toBe(row)
    expect(read.facts).toEqual(facts)
    expect(read.verdict.waiting).toEqual([])
  })
  fc.assert(property, { numRuns: Math.ceil(numRuns), ...(seed !== undefined && { seed }) })
  return seen
}

/** Checks hostile mutants of random histories. A live document must also accept those that the reader accepts. */
export function checkMutants(numRuns: number, seed?: number): Seen {
  const seen = new Seen()
  const property = fc.property(seeds, (one) => {
    const all = randomHistory(one)
    for (let n = 0; n < 20; n++) {
      const mutation = mutated(all, one + n)
      if (mutation === undefined) continue
      const { how, mutant, rest } = mutation
      const changes = [...rest, mutant]
      const read = readRow(ID, changes, hashes([mutant]), () => notes)
      seen.count(`${typeof read === "string" ? "declined" : "accepted"}: ${how}`)
      if (typeof read === "string") continue
      expect(read.verdict.waiting).toEqual([])
      const { row, facts } = byAutomerge(changes, notes)
      expect(JSON.stringify(read.row)).toBe(row)
      expect(read.facts).toEqual(facts)
      const live = Entity.hydrate(ID, History.of(causalOrder(rest)), actorOf(9))
      expect(live.receive([mutant]).order).toEqual([mutant])
      expect(JSON.stringify(project(live, notes))).toBe(row)
      live.free()
    }
  })
  fc.assert(property, { numRuns: Math.ceil(numRuns), ...(seed !== undefined && { seed }) })
  return seen
}
