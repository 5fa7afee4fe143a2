/** The relay changes this device's access while the connection stays open. */
import { memoryStore } from "headwater/memory"
import { expect, test } from "vitest"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { at, first, item, openLevel, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

/** The relay's notice that this access is in force from now on. */
const notice = (access: "read" | "write") => ({ t: "notice", w, code: "FORBIDDEN", access }) as const

test.each([
  ["read", "write"],
  ["write", "read"],
] as const)("a notice after entries that name the access %s is in force: %s", async (before, after) => {
  const relay = new ScriptedRelay()
  relay.answer = (message) => (message.t === "ping" ? [{ t: "pong" }] : [])
  let release = () => {}
  let commits = Promise.resolve()
  const ws = await openLevel(relay, memoryStore({ step: (step) => (step === "commit" ? commits : undefined) }))
  void ws.whenSynced().catch(() => {}) // pulls once more
  await relay.settle()
  commits = new Promise((resolve) => {
    release = resolve
  })
  relay.say({ t: "entries", w, items: [item("x", [genesisOf("x", "notes")])], cursor: at(2), level: true })
  await relay.settle()
  // These entries answer the pull. They wait until the entries before them are committed.
  relay.say({ t: "entries", w, items: [], cursor: at(2), level: true, ...first, access: before })
  relay.say(notice(after))
  await relay.settle()
  release()
  await relay.pass(1000)
  expect(ws.status.access).toBe(after)
  await ws.close()
})

test("a notice that lets this device write again is no error", async () => {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  relay.say(notice("read"))
  await relay.settle()
  expect(ws.status).toMatchObject({ access: "read", error: { code: "FORBIDDEN" } })
  relay.say(notice("write"))
  await relay.settle()
  expect(ws.status).toMatchObject({ access: "write", error: null })
  await ws.close()
})
