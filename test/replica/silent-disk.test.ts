import { memoryStore } from "headwater/memory"
import { beforeAll, expect, test } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"
import { HeadwaterError } from "../../src/base/errors.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { open } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"
import { until } from "../support/until.ts"

beforeAll(() => loadAutomerge())

/** A disk that fails at this step of each commit and answers no read, from the call of `fail` to the call of `heal`. */
function failing(failsAt: "commit" | "committed") {
  let broken = false
  let answer = () => {}
  const never = new Promise<void>((resolve) => (answer = resolve))
  const store = memoryStore({
    step: (step) => {
      if (!broken) return
      if (step === failsAt) throw new Error("the disk is gone for a while")
      return step === "get" || step === "list" ? never : undefined
    },
  })
  const fail = () => void (broken = true)
  const heal = () => {
    broken = false
    answer()
  }
  return { store, fail, heal }
}

test("status shows a failed commit at once, even if the disk then answers no read", async () => {
  const { store, fail, heal } = failing("commit")
  const ws = await open(undefined, store)
  const told: unknown[] = []
  ws.onStatus(({ error }) => told.push(error?.code))
  fail()
  const written = ws.notes.create({ title: "T" })
  written.catch(() => {})
  await until(() => told.length > 0, ws)
  expect([ws.status.error?.code, told]).toEqual(["STORE_FAILED", ["STORE_FAILED"]])
  heal()
  await expect(written).rejects.toMatchObject({ code: "STORE_FAILED" })
  await ws.close()
})

test.each(["commit", "committed"] as const)(
  "a write whose commit fails at %s is rejected although the disk answers no read, and shown as it is saved once it does",
  async (failsAt) => {
    const { store, fail, heal } = failing(failsAt)
    const relay = new ScriptedRelay() // for its clock
    const ws = await open(undefined, store, relay.env)
    await ws.notes.create({ title: "saved" }, { id: "a" })
    await ws.notes.create({ title: "other" }, { id: "b" })
    const told: string[] = []
    ws.notes.subscribe((_, { changed }) => told.push(...changed))
    fail()
    const outcomes: string[] = []
    const note = (what: string) => [() => outcomes.push(`${what} saved`), () => outcomes.push(`${what} rejected`)]
    const write = (what: string, id: string) =>
      ws.notes.update(id, (draft) => void (draft.title = what)).then(...note(what))
    const first = write("first", "a")
    await relay.settle()
    const behind = write("behind", "a") // the replica has not rejected the first write yet
    await relay.pass(2000)
    expect([outcomes, ws.notes.get("a")?.title, told]).toEqual([["first rejected"], "saved", []])
    const elsewhere = write("elsewhere", "b")
    heal()
    await Promise.all([first, behind, elsewhere])
    expect(outcomes).toEqual(["first rejected", "behind saved", "elsewhere saved"])
    expect(ws.notes.all().map(({ title }) => title)).toEqual(["behind", "elsewhere"])
    expect(told).toEqual(failsAt === "committed" ? ["a", "a", "b"] : ["a", "b"])
    expect(ws.status).toMatchObject({ phase: "local", error: null })
    await ws.close()
  },
)

test.each(["STORE_FAILED", "STORE_GONE"] as const)("status shows %s after a step has failed with it", async (code) => {
  const ws = await open(undefined)
  const step = replicaOf(ws).step([], () => {
    throw new HeadwaterError(code, "the disk could not be read")
  })
  await expect(step).rejects.toMatchObject({ code })
  expect(ws.status.error?.code).toBe(code)
  await ws.close()
})
