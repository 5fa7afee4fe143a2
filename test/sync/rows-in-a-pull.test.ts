/** How often rows are made while the entries of a long pull arrive. */
import { beforeAll, expect, test } from "vitest"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import type { Change } from "../../src/wire/chunk.ts"
import { at, first, item, next, open, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

const EDITS = 20

beforeAll(() => loadAutomerge())

/** Opens a workspace. The relay sends it one edit of a note per message, and does not end the pull. */
async function inPull() {
  const relay = new ScriptedRelay()
  const ws = await open({ url }, undefined, relay.env)
  await relay.settle()
  const made: unknown[] = []
  ws.notes.subscribe((rows) => {
    if (!rows[0]?.$stale) made.push(rows[0]?.n)
  })
  const changes: Change[] = [genesisOf("a", "notes")]
  for (let n = 0; n < EDITS; n++) changes.push(next(changes.at(-1)!, n, { seq: n + 1 }))
  for (const [i, change] of changes.entries()) {
    relay.say({
      t: "entries",
      w,
      items: [item("a", [change])],
      cursor: at(i),
      ...(i === 0 && { ...first, left: 9999 }),
    })
    await relay.pass(1000)
  }
  return { relay, ws, made }
}

test("a row is made once while more entries of the pull are to come, and once more at its end", async () => {
  const { relay, ws, made } = await inPull()
  expect(made).toEqual([undefined])
  relay.say({ t: "entries", w, items: [], cursor: at(EDITS + 1), level: true })
  await relay.pass(1000)
  expect([made, ws.status.phase]).toEqual([[undefined, EDITS - 1], "live"])
  await ws.close()
})

test("a row is made again when the connection ends in the middle of a pull", async () => {
  const { relay, ws, made } = await inPull()
  relay.hangUp()
  await relay.pass(100)
  expect(made).toEqual([undefined, EDITS - 1])
  await ws.close()
})
