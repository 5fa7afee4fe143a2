/** A replica pulls from a damaged log. Then an older, undamaged copy of this log takes its place. */
import { beforeAll, describe, expect, it } from "vitest"
import { position } from "../../src/wire/protocol.ts"
import { actorOf, genesis } from "../support/changes.ts"
import { note } from "../support/relay.ts"
import { Served } from "../support/served.ts"

const single = (entity: string) => ({ ...note(entity, actorOf(1)), chunks: [genesis(entity).chunk] })

describe("a replica that has pulled from a damaged log, when an undamaged copy of it is put back", () => {
  const seen: { held?: string[]; at?: number; told?: string[] } = {}

  beforeAll(async () => {
    const sizes = { readBytes: 1, recentBytes: 1 }
    const damaged = await Served.open({ sizes })
    const [writer, first] = [damaged.connect(), damaged.connect()]
    for (const entity of ["e", "f", "g", "h"]) await writer.ack(writer.push([single(entity)]))
    const files = damaged.disk.snapshot()
    damaged.damage(genesis("f").chunk)
    await (await damaged.log()).since(0, 1000) // the relay finds the damage, and mends the log
    first.pull("w", null, { credit: 1 })
    await damaged.settled()
    first.send({ t: "pull", w: "w", credit: 60 })
    await damaged.settled()
    const got = first.received.filter((message) => message.t === "entries")
    seen.held = got.flatMap(({ items }) => items.map((item) => ("entry" in item ? item.entry.entity : item.own)))
    const { cursor } = got.at(-1)!
    seen.at = position(cursor!)
    await damaged.close()

    const restored = await Served.open({ sizes, files })
    const again = restored.connect()
    again.pull("w", cursor!, { reach: cursor! })
    await restored.settled()
    seen.told = again.received.flatMap((message) => {
      if (message.t === "notice") return [message.code]
      if (message.t !== "entries") return []
      return message.items.map((item) => ("entry" in item ? item.entry.entity : item.own))
    })
    await restored.close()
  })

  it("was sent what was left, up to a cursor between the damage and the end", () => {
    expect(seen).toMatchObject({ held: ["e", "g"], at: 3 })
  })

  it("is told that its cursor is unknown, or is sent what was lost", () => {
    expect(seen.told).toSatisfy((told: string[]) => told.includes("CURSOR_UNKNOWN") || told.includes("f"))
  })
})
