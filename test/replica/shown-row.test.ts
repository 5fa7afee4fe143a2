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

test("a row without a known author names the first principal", () => {
  expect(shown("alice", 1000)).toMatchObject({ $createdBy: "alice", $updatedBy: "alice" })
})

// Found by the convergence property (seed 2, path 243). A create was pushed in parts, and its device was lost after the
// relay had stored only the derived changes.
test("a row that was made from derived changes alone has no author on any device", () => {
  expect(shown("alice", 0)).toEqual(shown("bob", 0))
  expect(shown("alice", 0)).toMatchObject({ $createdBy: null, $updatedBy: null })
})
