/**
 * Only `tsc` checks this file, which uses the library as an app does. The line after a `@ts-expect-error` must not
 * compile, and every other line must.
 */
import {
  type Access,
  collection,
  type Delta,
  type Handle,
  HeadwaterError,
  type LiveText,
  openWorkspace,
  preview,
  type Relay,
  type RowOf,
  relayConnection,
  type Status,
  shape,
  type TextSplice,
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
// @ts-expect-error the key must equal the name of the collection
await openWorkspace({ id: "w", collections: { tasks: notes }, store })
// @ts-expect-error the key of every collection must equal its name
await openWorkspace({ id: "w", collections: { notes, chores: tasks }, store })
// @ts-expect-error a store is required
await openWorkspace({ id: "w", collections: { notes } })
// @ts-expect-error a store is an object, not a path
await openWorkspace({ id: "w", collections: { notes }, store: "./data" })
// @ts-expect-error an id is required
await openWorkspace({ collections: { notes }, store })
// @ts-expect-error a schema is not a collection
await openWorkspace({ id: "w", collections: { notes: Note }, store })
// @ts-expect-error an id is a string
await openWorkspace({ id: "w", collections: { notes }, store, idFactory: () => 5 })
// @ts-expect-error there is no such option
await openWorkspace({ id: "w", collections: { notes }, store, relays: [] })
// @ts-expect-error `wasm` is an address or bytes
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
// @ts-expect-error the url is required
relayConnection({ token: "secret" })
// @ts-expect-error a token is a string
relayConnection({ url: "wss://relay.example", token: () => 5 })
// @ts-expect-error a relay is an object, not a url
ws.connect("wss://relay.example")

// ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────────
type NoteRow = RowOf<typeof notes>
export const made: NoteRow = await ws.notes.create({ title: "T" })
await ws.notes.create({ title: "T", body: "b" }, { id: ws.notes.newId() })
// @ts-expect-error the schema requires a title
await ws.notes.create({ body: "b" })
// @ts-expect-error a title is a string
await ws.notes.create({ title: 5 })
// @ts-expect-error the id is an option and not a field
await ws.notes.create({ title: "T", id: "a" })
await ws.notes.update("a", (draft, edit) => {
  const body: string = draft.body
  draft.title = body
  draft.due = undefined
  edit.splice("body", 0, 1, "x")
  // @ts-expect-error there is no such field
  draft.nope = 1
  // @ts-expect-error a title is a string
  draft.title = 1
  // @ts-expect-error the field is not a text()
  edit.splice("title", 0, 1)
  // @ts-expect-error a position is a number
  edit.splice("body", "0", 1)
})
export const nothing: undefined = (await ws.notes.delete("a").then(() => ws.notes.restore("a"))) as undefined

// ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────
const row = ws.notes.get("a")
// @ts-expect-error the row may be undefined
row.title
export const title: string | undefined = row?.title
export const due: number | undefined = row?.due
export const all: readonly NoteRow[] = ws.notes.all()
export const start: string = row === undefined ? "" : preview(row, "body")
// @ts-expect-error a row is read-only
if (row !== undefined) row.title = "U"
// @ts-expect-error the list of rows is read-only
ws.notes.all().push(made)
// @ts-expect-error a long text is absent from the row
export const body: string = made.body
const whole = await ws.notes.read("a")
export const wholeBody: string | undefined = whole?.body
export const off: () => void = ws.notes.subscribe((rows, delta: Delta) => {
  const from: "here" | "relay" = delta.from
  const some: readonly NoteRow[] = rows
  void [from, some, delta.added[0], delta.changed[0], delta.removed[0]]
})

// ── an entity on a screen ─────────────────────────────────────────────────────────────────────────────────────────────
const handle = await ws.notes.open("a")
export const idOf = (one: Handle<never, never, never>): string => one.id
export const shown: string | undefined = handle.row.body
handle.update((draft) => void (draft.title = "T"))
const liveText: LiveText = handle.text("body")
liveText.subscribe((splices, from) => {
  const where: "here" | "tab" | "relay" = from
  const each: readonly TextSplice[] = splices
  void [where, each]
})
// @ts-expect-error `title` is no text() field
handle.text("title")
// @ts-expect-error a row on a screen is read-only
handle.row.title = "T"
export const closing: Promise<void> = handle.close()
export const disposedHandle: AsyncDisposable = handle

// ── status ────────────────────────────────────────────────────────────────────────────────────────────────────────────
const said: Status = ws.status
export const phase: "local" | "offline" | "connecting" | "syncing" | "live" | "error" = said.phase
export const access: Access | null = said.access
export const who: string | null = said.principal
export const progress: { readonly done: number; readonly total: number } | null = said.progress
export const times: readonly (number | null)[] = [said.lastSyncedAt, said.retryAt]
export const others: readonly { readonly principal: string; readonly pending: number }[] = said.others
// @ts-expect-error the status is read-only
said.pending = 0
ws.onStatus(
  ({ connected, pending, complete }) => void [connected satisfies boolean, pending + 1, complete satisfies boolean],
)
await ws.whenStored({ signal: AbortSignal.timeout(1000) })
await ws.whenSynced()
const wrong: HeadwaterError | null = said.error
export const more = [wrong?.code, wrong?.entity, wrong?.field, wrong?.issues?.[0]?.message, wrong?.retryAt]
// @ts-expect-error there is no such code
new HeadwaterError("NOPE", "")

// ── a collection's name that the workspace uses itself ────────────────────────────────────────────────────────────────
const status = collection("status", shape<{ a: number }>())
const clash = await openWorkspace({ id: "w", collections: { status, notes }, store })
export const own: string = clash.status.phase
export const theirs: number | undefined = clash.collections.status.get("1")?.a
// @ts-expect-error `clash.status` is the status of the workspace, not the collection
clash.status.get("1")
// @ts-expect-error there is no such collection
ws.nope

export const disposed: AsyncDisposable = ws
await ws.close()
