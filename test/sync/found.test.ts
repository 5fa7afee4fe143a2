/** Two workspaces on one connection. The relay sends one of them something that only a newer library knows. */
import { collection, openWorkspace, relayConnection, shape } from "headwater"
import { memoryStore } from "headwater/memory"
import { expect, test } from "vitest"
import { type Entries, limits, type RelayMessage } from "../../src/wire/protocol.ts"
import { at } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

const notes = collection("notes", shape<{ title?: string }>())
const { message, chunk, ops } = limits
const chunks = [new Uint8Array(40)]
const ofKind = (kind: string): Partial<Entries> => ({
  items: [{ entry: { entity: "e", collection: "notes", kind, chunks } }],
})

test.each<[string, Partial<Entries>, RelayMessage[]]>([
  ["a kind of entry that relays do not send yet", ofKind("snapshot"), []],
  ["a kind of entry that only a newer version knows", ofKind("move"), []],
  ["an access that only a newer version knows", { access: "comment" }, []],
  ["a notice of such an access", {}, [{ t: "notice", w: "a", code: "FORBIDDEN", access: "comment" }]],
])("%s is trouble of its workspace, and the other one goes on", async (_, unknown, notices) => {
  const SECONDS = 120
  const relay = new ScriptedRelay()
  const connection = relayConnection({ url: "ws://relay" })
  const introduction = { principal: "p", access: "write", limits: { message, chunk, ops }, left: 0 } as const
  const answer = () => {
    for (const heard of relay.heard.splice(0)) {
      if (heard.t === "ping") relay.say({ t: "pong" })
      if (heard.t !== "pull" || heard.cursor === undefined) continue
      const entries = { t: "entries", w: heard.w, items: [], cursor: at(1), level: true, time: relay.now } as const
      relay.say({ ...entries, ...introduction, ...(heard.w === "a" && unknown) })
      if (heard.w === "a") relay.say(...notices)
    }
  }
  const open = (id: string) =>
    openWorkspace({ id, collections: { notes }, store: memoryStore(), env: relay.env, relay: connection })
  const b = await open("b")
  const a = await open("a")
  let live = 0
  for (let second = 0; second < SECONDS; second++) {
    await relay.pass(1000)
    answer()
    await relay.settle()
    if (b.status.phase === "live") live++
  }
  const seen = { dials: relay.dials.length, live, code: a.status.error?.code }
  await a.close()
  await b.close()
  expect(seen).toEqual({ dials: 1, live: SECONDS, code: "PROTOCOL_VERSION" })
})
