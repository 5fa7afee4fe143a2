/** A fault that is known and not mended yet: what is played must come to its end, and the test is expected to fail. */
import { collection, openWorkspace, relayConnection, shape } from "headwater"
import { memoryStore } from "headwater/memory"
import { beforeAll, describe, expect, it } from "vitest"
import { limits } from "../../src/wire/protocol.ts"
import { at } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

const notes = collection("notes", shape<{ title?: string }>())

describe("two workspaces on a connection, one of which cannot take what its log holds", () => {
  const SECONDS = 120
  const seen: { dials?: number; live?: number; code?: string | undefined } = {}

  beforeAll(async () => {
    const relay = new ScriptedRelay()
    const connection = relayConnection({ url: "ws://relay" })
    const { message, chunk, ops } = limits
    const introduction = { principal: "p", access: "write", limits: { message, chunk, ops }, left: 0 } as const
    const snapshot = { entity: "e", collection: "notes", kind: "snapshot", chunks: [new Uint8Array(40)] } as const
    /** What it heard before is answered; from here on it answers at once. */
    const answer = () => {
      for (const heard of relay.heard.splice(0)) {
        if (heard.t === "ping") relay.say({ t: "pong" })
        if (heard.t !== "pull" || heard.cursor === undefined) continue
        const items = heard.w === "a" ? [{ entry: snapshot }] : []
        relay.say({ t: "entries", w: heard.w, items, cursor: at(1), level: true, time: relay.now, ...introduction })
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
    seen.dials = relay.dials.length
    seen.live = live
    seen.code = a.status.error?.code
    await a.close()
    await b.close()
  })

  // Whatever one of them cannot take ends the connection for both.
  it("has trouble of its own, and the other one goes on", () => {
    expect(seen).toEqual({ dials: 1, live: SECONDS, code: "PROTOCOL_VERSION" })
  })
})
