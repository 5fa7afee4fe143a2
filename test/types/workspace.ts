/** Checked by `tsc` alone: an app as other programs write it, and, under `@ts-expect-error`, what must not compile. */
import {
  type Access,
  collection,
  type Delta,
  HeadwaterError,
  openWorkspace,
  preview,
  type Relay,
  type RowOf,
  relayConnection,
  type Status,
  shape,
  text,
  type Workspace,
} from "headwater"
import { indexedDBStore } from "headwater/indexeddb"
import { memoryStore } from "headwater/memory"
import { nodeStore } from "headwater/node"
import { z } from "zod"

declare const store: object
declare const env: object
const Note = z.object({ title: z.string(), body: z.string().default(""), due: z.number().optional() })
const notes = collection("notes", Note, { fields: { body: text() }, defaults: { title: "" } })
const tasks = collection("tasks", shape<{ done: boolean; note?: string }>())

// ── opening ───────────────────────────────────────────────────────────────────────────────────────────────────────────
const ws = await openWorkspace({ id: "w", collections: { notes, tasks }, store })
export const named: Workspace<{ notes: typeof notes; tasks: typeof tasks }> = ws
export const id: string = ws.id
for (const some of [nodeStore("./data"), indexedDBStore("app"), memoryStore()]) {
  await openWorkspace({ id: "w", collections: { notes }, store: some })
}
// @ts-expect-error the key is the name
await openWorkspace({ id: "w", collections: { tasks: notes }, store })
// @ts-expect-error of each of them
await openWorkspace({ id: "w", collections: { notes, chores: tasks }, store })
// @ts-expect-error a workspace is kept somewhere
await openWorkspace({ id: "w", collections: { notes } })
// @ts-expect-error a store is an object, not the path of one
await openWorkspace({ id: "w", collections: { notes }, store: "./data" })
// @ts-expect-error and has a name
await openWorkspace({ collections: { notes }, store })
// @ts-expect-error a collection comes from collection()
await openWorkspace({ id: "w", collections: { notes: Note }, store })
// @ts-expect-error an id is text
await openWorkspace({ id: "w", collections: { notes }, store, idFactory: () => 5 })
// @ts-expect-error no such option
await openWorkspace({ id: "w", collections: { notes }, store, relays: [] })
// @ts-expect-error WebAssembly is a place or bytes
await openWorkspace({ id: "w", collections: { notes }, store, wasm: 5 })
for (const wasm of [new URL("https://a.example/a.wasm"), "/a.wasm", new ArrayBuffer(8), new Uint8Array(8)]) {
  await openWorkspace({ id: "w", collections: { notes }, store, wasm, env, signal: AbortSignal.timeout(1000) })
}

// ── the relay ─────────────────────────────────────────────────────────────────────────────────────────────────────────
const relay: Relay = relayConnection({
  url: "wss://relay.example",
  token: ({ workspaces, reason, signal }) => {
    const why: "open" | "expiring" | "refused" = reason
    const ids: readonly string[] = workspaces
    return signal.aborted ? why : Promise.resolve(ids.join())
  },
})
await openWorkspace({ id: "w", collections: { notes }, store, relay })
ws.connect(relay)
ws.connect({ url: "wss://relay.example", token: "secret" })
ws.connect()
// @ts-expect-error no address
relayConnection({ token: "secret" })
// @ts-expect-error a token is text
relayConnection({ url: "wss://relay.example", token: () => 5 })
// @ts-expect-error an address alone is no relay
ws.connect("wss://relay.example")

// ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────────
type NoteRow = RowOf<typeof notes>
export const made: NoteRow = await ws.notes.create({ title: "T" })
await ws.notes.create({ title: "T", body: "b" }, { id: ws.notes.newId() })
// @ts-expect-error the schema wants a title
await ws.notes.create({ body: "b" })
// @ts-expect-error of another type
await ws.notes.create({ title: 5 })
// @ts-expect-error an id is no field: it is an option
await ws.notes.create({ title: "T", id: "a" })
await ws.notes.update("a", (draft, edit) => {
  const body: string = draft.body
  draft.title = body
  draft.due = undefined
  edit.splice("body", 0, 1, "x")
  // @ts-expect-error no such field
  draft.nope = 1
  // @ts-expect-error of another type
  draft.title = 1
  // @ts-expect-error not a text
  edit.splice("title", 0, 1)
  // @ts-expect-error a position is a number
  edit.splice("body", "0", 1)
})
export const nothing: undefined = (await ws.notes.delete("a").then(() => ws.notes.restore("a"))) as undefined

// ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────
const row = ws.notes.get("a")
// @ts-expect-error there may be none
row.title
export const title: string | undefined = row?.title
export const due: number | undefined = row?.due
export const all: readonly NoteRow[] = ws.notes.all()
export const start: string = row === undefined ? "" : preview(row, "body")
// @ts-expect-error rows are read only
if (row !== undefined) row.title = "U"
// @ts-expect-error and so is the list
ws.notes.all().push(made)
// @ts-expect-error a long text may be absent
export const body: string = made.body
const whole = await ws.notes.read("a")
export const wholeBody: string | undefined = whole?.body
export const off: () => void = ws.notes.subscribe((rows, delta: Delta) => {
  const from: "here" | "relay" = delta.from
  const some: readonly NoteRow[] = rows
  void [from, some, delta.added[0], delta.changed[0], delta.removed[0]]
})

// ── status ────────────────────────────────────────────────────────────────────────────────────────────────────────────
const said: Status = ws.status
export const phase: "local" | "offline" | "connecting" | "syncing" | "live" | "error" = said.phase
export const access: Access | null = said.access
export const who: string | null = said.principal
export const progress: { readonly done: number; readonly total: number } | null = said.progress
export const times: readonly (number | null)[] = [said.lastSyncedAt, said.retryAt]
export const others: readonly { readonly principal: string; readonly pending: number }[] = said.others
// @ts-expect-error read only
said.pending = 0
ws.onStatus(
  ({ connected, pending, complete }) => void [connected satisfies boolean, pending + 1, complete satisfies boolean],
)
await ws.whenStored({ signal: AbortSignal.timeout(1000) })
await ws.whenSynced()
const wrong: HeadwaterError | null = said.error
export const more = [wrong?.code, wrong?.entity, wrong?.field, wrong?.issues?.[0]?.message, wrong?.retryAt]
// @ts-expect-error no such code
new HeadwaterError("NOPE", "")

// ── a name that the workspace has for itself ──────────────────────────────────────────────────────────────────────────
const status = collection("status", shape<{ a: number }>())
const clash = await openWorkspace({ id: "w", collections: { status, notes }, store })
export const own: string = clash.status.phase
export const theirs: number | undefined = clash.collections.status.get("1")?.a
// @ts-expect-error the short form is the workspace's own
clash.status.get("1")
// @ts-expect-error no such collection
ws.nope

export const disposed: AsyncDisposable = ws
await ws.close()
