import { expect, test } from "vitest"
import type { StoredRow } from "../../src/replica/disk/records.ts"
import { ShownRows } from "../../src/replica/disk/shown-row.ts"

const shown = (firstPrincipal: string, $createdAt: number) => {
  const joined = { pending: () => undefined, stale: () => false, firstPrincipal: () => firstPrincipal, now: () => 1e13 }
  const stored: StoredRow = {
    id: "e",
    $createdAt,
    $updatedAt: $createdAt,
    $conflicts: [],
    $createdBy: null,
    $updatedBy: null,
  }
  return new ShownRows("w", new Map(), joined).show("notes", stored)
}

test("a row whose author was not known yet is the first principal's", () => {
  expect(shown("alice", 1000)).toMatchObject({ $createdBy: "alice", $updatedBy: "alice" })
})

// Found by the property: seed 2, path 243. A create was pushed in parts, and its device was lost behind the derived ones.
test("a row of derived changes alone names nobody, on every device", () => {
  expect(shown("alice", 0)).toEqual(shown("bob", 0))
  expect(shown("alice", 0)).toMatchObject({ $createdBy: null, $updatedBy: null })
})
