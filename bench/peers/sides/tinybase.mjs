/** TinyBase: a MergeableStore with a table of notes, its file persister and its WebSocket synchronizer. */
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import { createMergeableStore } from "tinybase"
import { createFilePersister } from "tinybase/persisters/persister-file"
import { createWsSynchronizer } from "tinybase/synchronizers/synchronizer-ws-client"
import WebSocket from "ws"

export async function open({ folder, url }) {
  const store = createMergeableStore()
  const persister = createFilePersister(store, `${folder}/notes.json`)
  await persister.startAutoPersisting()
  let synchronizer
  const connect = async (to) => {
    const socket = new WebSocket(`${to}/notes`)
    await once(socket, "open")
    synchronizer = await createWsSynchronizer(store, socket)
    await synchronizer.startSync()
  }
  if (url !== undefined) await connect(url)
  let n = store.getRowCount("notes")

  /** Resolves when nothing waits to be written. The persister writes the whole file after each transaction. */
  const saved = async () => {
    await persister.schedule(async () => {})
  }
  return {
    root: "",
    ids: () => store.getRowIds("notes").sort(),
    count: () => store.getRowCount("notes"),
    list: () => Object.entries(store.getTable("notes")).map(([id, row]) => ({ id, ...row })),
    async create(list) {
      store.transaction(() => {
        for (const note of list) store.setRow("notes", `note-${String(n++).padStart(6, "0")}`, note)
      })
      await saved()
    },
    setTitle(id, title) {
      store.setCell("notes", id, "title", title)
      return saved()
    },
    insert(id, at, string) {
      const body = store.getCell("notes", id, "body")
      const place = at(body)
      store.setCell("notes", id, "body", body.slice(0, place) + string + body.slice(place))
    },
    body: (id) => store.getCell("notes", id, "body"),
    async shown() {},
    saved,
    /** The protocol has no acknowledgement: a client can only know that its socket has taken the bytes. */
    async sent() {
      await saved()
      while (synchronizer.getWebSocket().bufferedAmount > 0) await sleep(5)
    },
    connect,
    async close() {
      await saved()
      await synchronizer?.destroy()
      await persister.destroy()
    },
  }
}
