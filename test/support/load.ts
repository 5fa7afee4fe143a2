/** Replicas that write without a pause, and checks that everything that they reported as saved is still there. */

import { setTimeout as sleep } from "node:timers/promises"
import * as A from "@automerge/automerge"
import { collection, openWorkspace, type Store, shape, text, type Workspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { usualSizes } from "../../src/base/replica-sizes.ts"
import { Outbox } from "../../src/replica/disk/outbox.ts"
import { keys, refuseDamaged } from "../../src/replica/disk/records.ts"
import { decodeEntry, type Hash } from "../../src/wire/protocol.ts"

export const WORKSPACE = "load"
const notes = collection("notes", shape<{ title: string; body: string }>(), { fields: { body: text() } })
export type Notes = Workspace<{ notes: typeof notes }>

export const openNotes = (store: Store, url?: string): Promise<Notes> =>
  openWorkspace({ id: WORKSPACE, collections: { notes }, store, ...(url !== undefined && { relay: { url } }) })

/** A write whose promise has resolved. From then on the note's body must contain the token. */
export interface Written {
  readonly id: string
  readonly token: string
}

/** Writes until `stop`, several writes at a time: it creates notes, and splices text into the notes it created last. */
export class Writer {
  readonly #ws: Notes
  readonly #name: string
  readonly #pause: number
  readonly #saved: (written: Written) => void
  readonly #mine: string[] = []
  readonly #hands: Promise<void>[]
  #count = 0
  #stopping = false

  /** `name` must differ from those of all other writers of a test, because tokens begin with it. `pause` is in ms. */
  constructor(ws: Notes, name: string, saved: (written: Written) => void, { hands = 4, pause = 2 } = {}) {
    this.#ws = ws
    this.#name = name
    this.#pause = pause
    this.#saved = saved
    this.#hands = Array.from({ length: hands }, () => this.#write())
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#hands)
  }

  async #write(): Promise<void> {
    while (!this.#stopping) {
      const token = `[${this.#name}.${this.#count++}]`
      this.#saved({ id: await this.#put(token), token })
      await sleep(this.#pause)
    }
  }

  async #put(token: string): Promise<string> {
    const id = this.#count % 10 === 1 ? undefined : this.#mine[this.#count % this.#mine.length]
    if (id === undefined) {
      const row = await this.#ws.notes.create({ title: token, body: token })
      this.#mine.push(row.id)
      if (this.#mine.length > 12) this.#mine.shift()
      return row.id
    }
    await this.#ws.notes.update(id, (draft, edit) => {
      draft.title = token
      edit.splice("body", 0, 0, token)
    })
    return id
  }
}

/** The writes whose token a workspace does not show. */
export async function missing(ws: Notes, written: Iterable<Written>): Promise<Written[]> {
  const bodies = new Map<string, string>()
  const lost: Written[] = []
  for (const one of written) {
    if (!bodies.has(one.id)) bodies.set(one.id, (await ws.notes.read(one.id))?.body ?? "")
    if (!bodies.get(one.id)?.includes(one.token)) lost.push(one)
  }
  return lost
}

/** What a closed workspace has on its disk. */
export interface Disk {
  /** The bytes of every change, by entity and hash. */
  readonly changes: ReadonlyMap<string, ReadonlyMap<Hash, Uint8Array>>
  readonly owed: ReadonlySet<Hash>
}

export async function readDisk(store: Store): Promise<Disk> {
  const release = await store.claim(WORKSPACE)
  const changes = new Map<string, Map<Hash, Uint8Array>>()
  for (const [key, value] of await store.list(keys.changes(WORKSPACE))) {
    const [, , entity, hash] = key as [string, string, string, string]
    const ofEntity = changes.get(entity) ?? new Map<Hash, Uint8Array>()
    changes.set(entity, ofEntity.set(hash, decodeEntry(value as Uint8Array).chunks[0]!))
  }
  const outbox = await Outbox.read(store, WORKSPACE, usualSizes, refuseDamaged)
  const owed = new Set([...outbox].map(({ hash }) => hash))
  await release()
  return { changes, owed }
}

/** A new replica that has pulled everything from the relay. `close` returns its disk. */
export async function pullAll(url: string): Promise<{ ws: Notes; close(): Promise<Disk> }> {
  const store = memoryStore()
  const ws = await openNotes(store, url)
  await ws.whenSynced({ signal: AbortSignal.timeout(60_000) })
  return {
    ws,
    async close() {
      await ws.close()
      return readDisk(store)
    },
  }
}

/** Notes whose row differs from what Automerge alone makes of the changes on the disk. */
export async function differingRows(ws: Notes, { changes }: Disk): Promise<string[]> {
  const differing: string[] = []
  for (const [id, chunks] of changes) {
    const [doc] = A.applyChanges(A.init<{ title?: unknown; body?: unknown }>(), [...chunks.values()])
    const row = await ws.notes.read(id)
    if (row?.title !== String(doc.title) || row.body !== String(doc.body)) differing.push(id)
    A.free(doc)
  }
  return differing
}

/** Hashes of the changes on the first disk that the second one does not have. */
export function lackingChanges(of: Disk, from: Disk): Hash[] {
  return [...of.changes].flatMap(([entity, chunks]) =>
    [...chunks.keys()].filter((hash) => !from.changes.get(entity)?.has(hash)),
  )
}

/** The fields of all notes on which all replicas must agree. */
export const view = (ws: Notes) =>
  ws.notes.all().map(({ id, title, body, $updatedAt }) => ({ id, title, body, $updatedAt }))
