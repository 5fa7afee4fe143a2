/**
 * A workspace to which a test sends a relay's messages one by one, to test the client's side of the protocol.
 * `useToldWorkspace` makes a new workspace before each test of a file, and closes it after the test.
 */
import { collection, openWorkspace, shape, text, type Workspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { afterEach, beforeAll, beforeEach } from "vitest"
import { loadAutomerge } from "../../src/document/entity.ts"
import { readChange } from "../../src/wire/chunk.ts"
import type { Entry, Item, Push } from "../../src/wire/protocol.ts"
import { at, first, w } from "./foreign.ts"
import { ScriptedRelay } from "./scripted-relay.ts"

const notes = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })
type Notes = Workspace<{ notes: typeof notes }>

// These are live bindings, so an importing file sees the objects of the test that runs now.
export let relay: ScriptedRelay
export let store: ReturnType<typeof memoryStore>
export let ws: Notes

export function useToldWorkspace(): void {
  // Loading Automerge takes longer than `relay.settle` waits.
  beforeAll(() => loadAutomerge())
  beforeEach(async () => {
    relay = new ScriptedRelay()
    await reopen(memoryStore())
  })
  afterEach(() => ws.close())
}

/** Opens the workspace again after it was closed. */
export async function reopen(from = store): Promise<Notes> {
  store = from
  ws = await openWorkspace({ id: w, collections: { notes }, store, relay: { url: "ws://relay" }, env: relay.env })
  await relay.settle()
  return ws
}

/** Sends entries with `level`, which says that nothing more follows. */
export const level = (position: number, items: readonly Item[] = []) =>
  relay.say({ t: "entries", w, items, cursor: at(position), level: true, ...first })
/** The latest push that the relay has received. */
export const pushed = () => relay.last("push")
export const ack = (push: Push, position: number) => relay.say({ t: "ack", w, id: push.id, at: at(position) })
export const hashes = (push: Push) =>
  push.entries.flatMap(({ chunks }) => chunks.map((chunk) => readChange(chunk).hash))

/** Entries that another device would have pushed, in the form in which the relay serves them. */
export async function elsewhere(
  write: (other: Notes) => Promise<unknown>,
  time: number = first.time,
): Promise<Entry[]> {
  const relayOfOther = new ScriptedRelay()
  const other = await openWorkspace({
    id: w,
    collections: { notes },
    store: memoryStore(),
    relay: { url: "ws://o" },
    env: relayOfOther.env,
  })
  await relayOfOther.settle()
  relayOfOther.say({ t: "entries", w, items: [], cursor: at(0), level: true, ...first, principal: "bob", time })
  await relayOfOther.settle()
  await write(other)
  await relayOfOther.settle()
  const entries = relayOfOther.heard.flatMap((message) => (message.t === "push" ? message.entries : []))
  await other.close()
  return entries.map((entry) => ({ ...entry, by: "bob" }))
}
