/** A replica heals that has an entity with more heads than one message may name. */
import { headsOf } from "headwater/testing"
import { beforeAll, expect, test } from "vitest"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import type { Change } from "../../src/wire/chunk.ts"
import { type Have, limits } from "../../src/wire/protocol.ts"
import { at, first, item, next, openLevel, refuse, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

beforeAll(() => loadAutomerge())

const HEADS = limits.heads + 100

/** A workspace that has a note with `HEADS` heads, and another note. */
async function withManyHeads() {
  const relay = new ScriptedRelay()
  const ws = await openLevel(relay)
  const genesis = genesisOf("many", "notes")
  const heads = Array.from({ length: HEADS }, (_, i) =>
    next(genesis, i, { actor: `c${i.toString(16).padStart(31, "0")}` }),
  )
  const other: Change[] = [genesisOf("other", "notes")]
  other.push(next(other[0]!, 1))
  relay.say({ t: "entries", w, items: [item("many", [genesis, ...heads.slice(0, 600)])], cursor: at(1), level: true })
  relay.say({ t: "entries", w, items: [item("many", heads.slice(600))], cursor: at(2), level: true })
  relay.say({ t: "entries", w, items: [item("other", other)], cursor: at(3), level: true })
  for (let i = 0; i < 100 && ws.notes.get("other") === undefined; i++) await relay.pass(100)
  expect(ws.notes.get("many")).toBeDefined()
  return { relay, ws, heads: heads.map(({ hash }) => hash), other: other[1]! }
}

const havesOf = (relay: ScriptedRelay): Have[] => relay.heard.filter((message) => message.t === "have")

test("names all heads, in several parts, and the other entities as well", async () => {
  const { relay, ws, heads, other } = await withManyHeads()
  relay.hangUp()
  await relay.pass(3000)
  relay.say({ t: "entries", w, items: [], ...first }, { t: "notice", w, code: "CURSOR_UNKNOWN" })
  for (let i = 0; i < 20 && havesOf(relay).at(-1)?.more !== false; i++) await relay.pass(100)
  const listed = havesOf(relay).flatMap(({ page }) => page)
  const parts = listed.filter(([entity]) => entity === "many").map(([, named]) => named)
  expect(parts.map(({ length }) => length)).toEqual([limits.heads, HEADS - limits.heads])
  expect(new Set(parts.flat())).toEqual(new Set(heads))
  expect(listed.find(([entity]) => entity === "other")).toEqual(["other", [other.hash]])
  expect(await headsOf(ws)).toEqual({ many: heads.toSorted(), other: [other.hash] })
  await ws.close()
}, 30_000)

test("pushes all that the relay lacks of the entity once, although two wants ask for it", async () => {
  const { relay, ws, heads } = await withManyHeads()
  relay.hangUp()
  await relay.pass(3000)
  relay.say({ t: "entries", w, items: [], ...first }, { t: "notice", w, code: "CURSOR_UNKNOWN" })
  for (let i = 0; i < 20 && havesOf(relay).at(-1)?.more !== false; i++) await relay.pass(100)
  const [, ...pages] = havesOf(relay)
  const known = [...heads].sort().slice(0, 1000)
  const want = {
    t: "want",
    w,
    page: [
      ["many", known],
      ["many", known],
    ],
  } as const
  for (const _ of [0, ...pages]) relay.say(want)
  relay.say({ t: "entries", w, items: [], cursor: at(4), level: true })
  await relay.pass(500)
  const pushed = relay.heard.flatMap((message) => (message.t === "push" ? message.entries : []))
  expect(pushed.flatMap(({ chunks }) => chunks)).toHaveLength(HEADS - 1000)
  await ws.close()
}, 30_000)

test("asks about that entity alone with a part of its heads", async () => {
  const { relay, ws } = await withManyHeads()
  await ws.notes.update("many", (draft) => void (draft.title = "mine"))
  for (let i = 0; i < 20 && relay.count("push") === 0; i++) await relay.pass(100)
  refuse(relay, relay.last("push"), () => "DEPS_UNKNOWN")
  await relay.pass(100)
  expect(havesOf(relay).map(({ page, more, single }) => [page.length, more, single])).toEqual([[1, false, true]])
  await ws.close()
}, 30_000)
