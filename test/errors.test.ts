import { readFileSync } from "node:fs"
import { codes, HeadwaterError } from "headwater"
import { expect, test } from "vitest"

test("every error code has its heading in docs/errors.md, and no other heading stands there", () => {
  const page = readFileSync(new URL("../docs/errors.md", import.meta.url), "utf8")
  const headings = [...page.matchAll(/^### (\w+)$/gm)].map(([, code]) => code)
  expect([...headings].sort()).toEqual([...codes].sort())
})

test("an error carries its code, its details and its cause", () => {
  const cause = new Error("disk")
  const error = new HeadwaterError("STORE_FAILED", "no", { entity: "a", field: "b", retryAt: 5, cause })
  expect(error).toMatchObject({
    name: "HeadwaterError",
    code: "STORE_FAILED",
    entity: "a",
    field: "b",
    retryAt: 5,
    cause,
  })
  expect(error.message).toBe("STORE_FAILED: no")
})
