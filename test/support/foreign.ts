/** A workspace whose relay sends what a test chooses: entries of other devices, and refusals. */
import { collection, openWorkspace, shape } from "headwater"
import { memoryStore } from "headwater/memory"
import type { Env } from "../../src/base/env.ts"
import type { Code } from "../../src/base/errors.ts"
import type { Store } from "../../src/store/store.ts"
import { systemEnv } from "../../src/sync/system.ts"
import { type Change, readChange } from "../../src/wire/chunk.ts"
import { cursorOf, type Item, limits, type Push } from "../../src/wire/protocol.ts"
import { forged, put } from "./hostile.ts"
import type { ScriptedRelay } from "./scripted-relay.ts"

type Fields = { title?: string; n?: number }
export const notes = collection("notes", shape<Fields>())
export const tasks = collection("tasks", shape<Fields>())
export const w = "w"
export const url = "ws://relay"
export const at = (position: number) => cursorOf(position, new Uint8Array(8).fill(7))
/** The keys that only the first `entries` message of a connection has. */
export const first = { principal: "ann", access: "write", limits, time: 1_700_000_000_000, left: 0 } as const

export const open = (relay: { url: string } | undefined, store: Store = memoryStore(), env: Env = systemEnv) =>
  openWorkspace({ id: w, collections: { notes, tasks }, store, relay, env })

export async function openLevel(relay: ScriptedRelay, store?: Store, env = relay.env) {
  const ws = await open({ url }, store, env)
  await relay.settle()
  relay.say({ t: "entries", w, items: [], cursor: at(1), level: true, ...first })
  await relay.pass(100)
  return ws
}

export const item = (entity: string, changes: readonly Change[], of = "notes"): Item => ({
  entry: { entity, collection: of, kind: "change", chunks: changes.map(({ chunk }) => chunk), by: "bob" },
})

/** A change of one foreign actor that sets `n` and depends on `on`. */
export const next = (on: Change, n: number, more: Record<string, unknown> = {}): Change =>
  forged({ deps: [on.hash], startOp: on.maxOp + 1, time: 1_700_000_000, ops: [put({ key: "n", value: n })], ...more })

/** Has the relay refuse every change of a push and acknowledge the push, so nothing of it is stored. */
export function refuse(relay: ScriptedRelay, push: Push, codeOf: (i: number) => Code, retryIn?: number): void {
  const chunks = push.entries.flatMap((entry) => entry.chunks.map((chunk) => [entry.entity, chunk] as const))
  for (const [i, [entity, chunk]] of chunks.entries()) {
    const { hash } = readChange(chunk)
    const how = { code: codeOf(i), ...(retryIn !== undefined && { retryIn }) }
    relay.say({ t: "reject", w, id: push.id, entity, hash, ...how })
  }
  relay.say({ t: "ack", w, id: push.id })
}
