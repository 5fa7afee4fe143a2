import { setTimeout as sleep } from "node:timers/promises"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { describe, expect, it } from "vitest"
import type { SharedFrame } from "../../relay/serve/served-workspace.ts"
import { encode } from "../../src/wire/protocol.ts"
import { actorOf } from "../support/changes.ts"
import { note, startRelay } from "../support/relay.ts"
import { Served } from "../support/served.ts"
import type { Wire } from "../support/wire.ts"

const A = actorOf(1)

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

const raw = (wire: Wire) => (wire.socket as unknown as { _socket: import("node:net").Socket })._socket

describe("the frame that brings a flush to all followers", () => {
  it("is made once for all of them, and not kept afterwards", async () => {
    const served = await Served.open()
    const frames = new Map<string, WeakRef<SharedFrame>[]>()
    for (const w of ["v", "w"]) {
      const writer = served.connect()
      const workspace = served.workspaces.enter(w)
      const seen: WeakRef<SharedFrame>[] = []
      frames.set(w, seen)
      for (let i = 0; i < 3; i++) {
        workspace.followers.add({ flushed: () => seen.push(new WeakRef(workspace.sharedFrame(0)!)), broke() {} })
      }
      await writer.ack(writer.push([note("e", A)], { w }))
      expect(seen).toHaveLength(3)
      expect(new Set(seen.map((ref) => ref.deref()!.position))).toEqual(new Set([1]))
    }
    await sleep(10) // a WeakRef holds its target until the end of the turn
    collect()
    for (const seen of frames.values())
      expect(seen.map((ref) => ref.deref())).toEqual([undefined, undefined, undefined])
    await served.close()
  })
})

describe("a frame that comes byte by byte", () => {
  it("ends its connection with 1008 before it has cost much, and in fewer pieces it is as good as any", async () => {
    await using relay = await startRelay({ sizes: { pieces: 60 } })
    const frame = encode({ t: "push", w: "w", id: "slow", entries: [note("e", A)] })
    const masked = Buffer.concat([Buffer.of(0x82, 0xfe, frame.length >> 8, frame.length & 255, 0, 0, 0, 0), frame])
    const dribble = async (wire: Wire, pieces: number) => {
      raw(wire).setNoDelay(true)
      for (let i = 0; i < pieces && !wire.closed; i++) {
        raw(wire).write(masked.subarray(i, i + 1))
        await sleep(2)
      }
      raw(wire).write(masked.subarray(pieces))
    }
    const honest = await relay.dial()
    await dribble(honest, 40)
    await honest.ack("slow")
    const hostile = await relay.dial()
    await dribble(hostile, 120)
    expect((await hostile.ended()).code).toBe(1008)
    await honest.ping()
  })
})
