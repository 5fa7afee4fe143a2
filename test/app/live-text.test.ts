/** A handle's text keeps the contract on which editor bindings are written. */
import { collection, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { liveTextConformance } from "headwater/testing"
import { afterAll, beforeAll, test } from "vitest"
import { startRelay, type TestRelay } from "../support/relay.ts"
import { until } from "../support/until.ts"

const notes = collection("notes", shape<{ body?: string }>(), { fields: { body: text() } })
let relay: TestRelay
let made = 0

beforeAll(async () => {
  relay = await startRelay()
})
afterAll(() => relay[Symbol.asyncDispose]())

async function make() {
  const id = `w${made++}`
  const open = () => openWorkspace({ id, collections: { notes }, store: memoryStore(), relay: { url: relay.url } })
  const [here, there] = await Promise.all([open(), open()])
  await here.notes.create({ body: "one two three" }, { id: "a" })
  await until(() => there.notes.get("a") !== undefined, there)
  const [mine, theirs] = await Promise.all([here.notes.open("a"), there.notes.open("a")])
  const [text, others] = [mine.text("body"), theirs.text("body")]
  return {
    text,
    async arrive(splices: readonly { at: number; remove: number; insert: string }[]) {
      await until(() => others.value === text.value)
      theirs.update((_, edit) => {
        for (const { at, remove, insert } of splices) edit.splice("body", at, remove, insert)
      })
      await until(() => others.value === text.value)
    },
    async destroy() {
      await Promise.all([here.close(), there.close()])
    },
  }
}

liveTextConformance("a handle's text", make, { test })
