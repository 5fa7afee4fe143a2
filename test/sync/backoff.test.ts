/** What ends a backoff: progress beyond the point of the last failure, in the workspace that failed. */
import { collection, openWorkspace, relayConnection, shape } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, expect, test } from "vitest"
import type { ClientMessage, RelayMessage } from "../../src/wire/protocol.ts"
import { at, first } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

const notes = collection("notes", shape<{ title?: string }>())
const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const { close } of opened.splice(0)) await close()
})

const pong: RelayMessage = { t: "pong" }

/**
 * Opens workspaces on one connection to a relay that answers with `answer`. Edits a note of the last workspace once a
 * second.
 */
async function typing(
  seconds: number,
  ids: readonly string[],
  answer: (message: ClientMessage) => readonly (RelayMessage | number)[],
) {
  const relay = new ScriptedRelay()
  relay.turns = 5
  relay.answer = (message) => (message.t === "ping" ? [pong] : answer(message))
  const shared = relayConnection({ url: "ws://relay" })
  const all = []
  for (const id of ids) {
    all.push(await openWorkspace({ id, collections: { notes }, store: memoryStore(), relay: shared, env: relay.env }))
  }
  opened.push(...all)
  await all.at(-1)!.notes.create({ title: "first" }, { id: "n" }) // this also loads Automerge
  for (let second = 0; second < seconds; second++) {
    await all.at(-1)!.notes.update("n", (draft) => void (draft.title = `${second}`))
    await relay.pass(1000)
  }
  return { relay, all }
}
const level = (w: string, position: number): RelayMessage => {
  return { t: "entries", w, items: [], cursor: at(position), level: true, ...first }
}
const MINUTES = 8
/** The most dials in `MINUTES` minutes, with waits of 1, 2, 4, ... 256 s between them. */
const DIALS = 10

test("acks of new edits undo no backoff while each heal is cut off", async () => {
  const { relay } = await typing(60 * MINUTES, ["w"], (message) => {
    if (message.t === "pull")
      return message.cursor === undefined ? [] : [{ t: "notice", w: "w", code: "CURSOR_UNKNOWN" }]
    if (message.t === "have") return message.more ? [] : [{ t: "entries", w: "w", items: [], ...first }]
    if (message.t === "push") return [{ t: "ack", w: "w", id: message.id, at: at(5) }, pong, pong, 1006]
    return []
  })
  expect(relay.count("push")).toBeGreaterThan(3)
  expect(relay.dials.length).toBeLessThanOrEqual(DIALS)
})

test("acks of one workspace undo no backoff while another one has the connection cut off", async () => {
  const { relay, all } = await typing(60 * MINUTES, ["a", "b"], (message) => {
    if (message.t === "pull" && message.w === "a") return [...Array(20).fill(pong), 1006]
    if (message.t === "pull") return [level("b", 1)]
    if (message.t === "push") return [{ t: "ack", w: "b", id: message.id, at: at(2) }]
    return []
  })
  expect(relay.count("push")).toBeGreaterThan(3)
  expect(relay.dials.length).toBeLessThanOrEqual(DIALS)
  // Once workspace a is level, the next break counts as a first failure again.
  relay.answer = (message) => (message.t === "pull" ? [level(message.w, 3)] : message.t === "ping" ? [pong] : [])
  await relay.pass(300_000)
  expect(all.map(({ status }) => status.phase)).toEqual(["live", "live"])
  relay.hangUp()
  await relay.settle()
  expect(all[0]!.status.retryAt).toBe(relay.now + 1000)
})

test("heals whose new cursor the relay does not know are no progress, however far they come", async () => {
  let position = 10
  const { relay } = await typing(60 * MINUTES, ["w"], (message) => {
    const unknown: RelayMessage = { t: "notice", w: "w", code: "CURSOR_UNKNOWN" }
    if (message.t === "pull") return message.cursor === undefined ? [] : [unknown]
    if (message.t === "have") {
      const healed: RelayMessage[] = [{ t: "entries", w: "w", items: [], ...first }, level("w", ++position)]
      return message.more ? [] : [...healed, pong, pong, unknown]
    }
    if (message.t === "push") return [{ t: "ack", w: "w", id: message.id, at: at(5) }]
    return []
  })
  expect(relay.count("have")).toBeLessThanOrEqual(4 * DIALS)
})

test("the failure of a pull is over once the workspace is level, even if nothing more came", async () => {
  const { relay, all } = await typing(0, ["w"], (message) => (message.t === "pull" ? [level("w", 1)] : []))
  await relay.pass(100)
  relay.answer = (message) => (message.t === "pull" ? [1006] : [])
  relay.hangUp()
  await relay.pass(30_000)
  relay.answer = (message) => (message.t === "pull" ? [level("w", 1)] : [])
  await relay.pass(20_000)
  expect(all[0]!.status.phase).toBe("live")
  relay.hangUp()
  await relay.settle()
  expect(all[0]!.status.retryAt).toBe(relay.now + 1000)
})
