/** A document that takes over the fields of the one on a screen shows what it would show after applying the changes. */
import { beforeAll, expect, test } from "vitest"
import { Entity, loadAutomerge } from "../../src/document/entity.ts"
import { causalOrder } from "../../src/document/history/graph.ts"
import { History } from "../../src/document/history/history.ts"
import { created } from "../../src/schema/draft.ts"
import type { Change } from "../../src/wire/chunk.ts"
import { actorOf, ID, notes, runs } from "../support/histories.ts"
import { random } from "../wire/chunk.material.ts"

beforeAll(() => loadAutomerge())

const copyOf = (changes: Iterable<Change>, actor: number) =>
  Entity.hydrate(ID, History.of(causalOrder([...changes])), actorOf(actor))

/** Applies the changes of `all` that `entity` lacks. */
const follow = (entity: Entity, all: Entity) =>
  entity.apply([...all.changes.values()].filter(({ hash }) => !entity.changes.has(hash)))

test("adopted changes, in any order with those of others, lead to the fields and heads of all changes", () => {
  const rng = random(77)
  let adopted = 0
  for (let run = 0; run < runs(60, 2_000); run++) {
    const screen = Entity.create(ID, "notes", actorOf(1))
    screen.write(notes, created(notes, { title: "T", body: "some words" }).changes, 1)
    const saved = copyOf(screen.changes.values(), 2)
    const other = copyOf(screen.changes.values(), 3)
    const unsaved: Change[] = []
    for (let i = 0; i < 12; i++) {
      const what = rng.below(5)
      const splice = (entity: Entity) => {
        const body = String(entity.whole(notes)["body"] ?? "")
        const splices = [{ key: "body", at: rng.below(body.length + 1), remove: 0, insert: `${i}` }]
        return entity.write(notes, { set: new Map(), remove: [], text: new Map(), splices }, 2 + i)
      }
      if (what <= 1) unsaved.push(...splice(screen))
      else if (what === 2) {
        if (unsaved.length > 0) adopted++
        saved.adopt(unsaved.splice(0), screen, notes)
      } else if (what === 3) {
        const made = splice(other)
        saved.apply(made)
        if (rng.below(2) === 0) follow(screen, saved)
      } else splice(saved)
      const all = copyOf(saved.changes.values(), 4)
      expect([saved.whole(notes), saved.heads, saved.facts], `run ${run}, step ${i}`).toEqual([
        all.whole(notes),
        all.heads,
        all.facts,
      ])
      all.free()
      follow(other, saved)
    }
    for (const entity of [screen, saved, other]) entity.free()
  }
  expect(adopted).toBeGreaterThan(30)
})
