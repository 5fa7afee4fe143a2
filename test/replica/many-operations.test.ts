import { expect, it } from "vitest"
import type { Sizes } from "../../src/base/replica-sizes.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { encodeChange } from "../../src/document/encoder/new-change.ts"
import { NewOperations } from "../../src/document/encoder/new-operations.ts"
import { memoryStore } from "../../src/store/memory.ts"
import type { Store } from "../../src/store/store.ts"
import { type Change, sealChange } from "../../src/wire/chunk.ts"
import { at, first, item, open, url, w } from "../support/foreign.ts"
import { ScriptedRelay } from "../support/scripted-relay.ts"

const ENTITIES = 40
const OPERATIONS = 20_000

/** The changes of a note. The last change has fewer than 100 bytes, and writes the same key 20,000 times. */
function manyOperations(id: string): Change[] {
  const genesis = genesisOf(id, "notes")
  const operations = new NewOperations(2)
  for (let i = 0; i < OPERATIONS; i++) operations.set({ object: undefined, key: "n" }, null)
  const change = { deps: [genesis.hash], actor: "ab".repeat(16), seq: 1, startOp: 2, time: 1_700_000_000, others: [] }
  return [genesis, sealChange(encodeChange(change, operations))]
}
const entities = Array.from({ length: ENTITIES }, (_, i) => `note-${i}`)
const items = entities.map((id) => item(id, manyOperations(id)))

interface Seen {
  /** The commits that write rows. */
  rowCommits: number
  /** The most entities whose changes were read from the disk at the same time. */
  readAtOnce: number
  /** How often other work had its turn. */
  turns: number
}

/** Receives all the notes, and waits until they are shown. */
async function receive(sizes: Partial<Sizes>): Promise<Seen> {
  const relay = new ScriptedRelay()
  const seen: Seen = { rowCommits: 0, readAtOnce: 0, turns: 0 }
  const memory = memoryStore()
  let reading = 0
  const store: Store = {
    ...memory,
    get: (key) => memory.get(key),
    async list(prefix, options) {
      const isOfEntity = prefix[1] === "change" && prefix.length === 3
      if (isOfEntity) seen.readAtOnce = Math.max(seen.readAtOnce, ++reading)
      const listed = await memory.list(prefix, options)
      if (isOfEntity) reading--
      return listed
    },
    commit(batch, options) {
      if (batch.some(([key]) => key[1] === "row" || key[1] === "page")) seen.rowCommits++
      return memory.commit(batch, options)
    },
  }
  const after: typeof relay.env.after = (ms, f, background) => {
    if (ms === 0) seen.turns++
    return relay.env.after(ms, f, background)
  }
  const ws = await open({ url }, store, { ...relay.env, after, sizes })
  await relay.settle()
  relay.say({ t: "entries", w, items, cursor: at(2), level: true, ...first })
  for (let i = 0; i < 2000 && ws.notes.all().filter(({ $stale }) => !$stale).length < ENTITIES; i++)
    await relay.pass(10)
  expect(ws.notes.all().filter(({ $stale }) => !$stale)).toHaveLength(ENTITIES)
  await ws.close()
  return seen
}

it("a step that makes rows ends after a number of operations, and gives other work its turn before", async () => {
  const bytes = entities.flatMap(manyOperations).reduce((sum, { chunk }) => sum + chunk.length, 0)
  expect(bytes).toBeLessThan(2 ** 15) // so few bytes alone give other work no turn
  const { rowCommits, turns } = await receive({ readOperations: 4 * OPERATIONS })
  expect(rowCommits).toBeGreaterThanOrEqual(ENTITIES / 4)
  expect(turns).toBeGreaterThanOrEqual(ENTITIES / 4)
}, 20_000)

it("the changes of at most 16 entities are read from the disk at the same time", async () => {
  const { readAtOnce } = await receive({ arrivals: 0 })
  expect(readAtOnce).toBeGreaterThan(1)
  expect(readAtOnce).toBeLessThanOrEqual(16)
}, 20_000)
