import { expect, test } from "vitest"
import { readPage, writePage } from "../../src/replica/disk/outbox-page.ts"
import { type Owed, refuseDamaged } from "../../src/replica/disk/records.ts"

const owed = (entity: string, startOp: number): Owed => ({
  ...{ entity, hash: String(startOp).padStart(64, "0"), startOp, bytes: 10 },
  ...{ how: "own", principal: "alice", fields: ["title"] },
})

const KEY = ["w", "outpage", "000001"]

test("the line of an entity says whether its creation is owed, and returns all its records", () => {
  const all = [owed("a", 1), owed("b", 5), owed("a", 3), owed("b", 1), owed("c", 2), owed("c", 4)]
  const page = readPage(writePage(all, KEY), KEY, refuseDamaged)
  const lines = page?.lines ?? []
  expect(lines.map(({ entity, creation }) => [entity, creation])).toEqual([
    ["a", true],
    ["b", true],
    ["c", false],
  ])
  expect(lines.flatMap((line) => line.owed())).toHaveLength(all.length)
  for (const line of lines) expect(line.owed()).toEqual(all.filter(({ entity }) => entity === line.entity))
  expect(page?.kinds.map((kind) => kind.owed)).toEqual([all.length])
})
