import { memoryStore } from "headwater/memory"
import { expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { HeadwaterError } from "../../src/base/errors.ts"
import { open } from "../support/foreign.ts"
import { until } from "../support/until.ts"

test("status shows a failed commit at once, even if the disk then answers no read", async () => {
  let broken = false
  let answer = () => {}
  const never = new Promise<void>((resolve) => (answer = resolve))
  const store = memoryStore({
    step: (step) => {
      if (!broken) return
      if (step === "commit") throw new Error("no room")
      return step === "get" || step === "list" ? never : undefined
    },
  })
  const ws = await open(undefined, store)
  const told: unknown[] = []
  ws.onStatus(({ error }) => told.push(error?.code))
  broken = true
  const written = ws.notes.create({ title: "T" })
  written.catch(() => {})
  await until(() => told.length > 0, ws)
  expect([ws.status.error?.code, told]).toEqual(["STORE_FAILED", ["STORE_FAILED"]])
  broken = false
  answer()
  await expect(written).rejects.toMatchObject({ code: "STORE_FAILED" })
  await ws.close()
})

test.each(["STORE_FAILED", "STORE_GONE"] as const)("status shows %s after a step has failed with it", async (code) => {
  const ws = await open(undefined)
  const step = replicaOf(ws).step([], () => {
    throw new HeadwaterError(code, "the disk could not be read")
  })
  await expect(step).rejects.toMatchObject({ code })
  expect(ws.status.error?.code).toBe(code)
  await ws.close()
})
