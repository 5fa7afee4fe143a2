/**
 * All notes in one Y.Doc, which is the fastest way to keep them in Yjs: a Y.Map of notes, each a Y.Map with a Y.Text.
 * In this way a note cannot be shared alone, and reading one note needs loading all. The device keeps its updates in
 * LevelDB (y-leveldb), as browsers keep them with y-indexeddb.
 */
import { LeveldbPersistence } from "y-leveldb"
import * as Y from "yjs"

/**
 * `connect(doc, url)` returns a provider. Its `synced()` resolves when the document has the notes of the server, and
 * its `sent()` when the edits of the device are sent. `close()` ends it.
 */
export async function openYjs({ folder, url }, connect) {
  const doc = new Y.Doc()
  const notes = doc.getMap("notes")
  const disk = new LeveldbPersistence(folder)
  Y.applyUpdate(doc, Y.encodeStateAsUpdate(await disk.getYDoc("notes")))
  let last = Promise.resolve()
  doc.on("update", (update) => {
    last = disk.storeUpdate("notes", update)
  })
  let provider = url === undefined ? undefined : connect(doc, url)
  let n = notes.size

  const plain = (id, map) => ({
    id,
    title: map.get("title"),
    tags: map.get("tags"),
    body: map.get("body").toString(),
  })
  return {
    root: "",
    ids: () => [...notes.keys()].sort(),
    count: () => notes.size,
    list: () => Array.from(notes, ([id, map]) => plain(id, map)),
    async create(list) {
      for (const note of list) {
        doc.transact(() => {
          const map = new Y.Map()
          map.set("title", note.title)
          map.set("tags", note.tags)
          map.set("body", new Y.Text(note.body))
          notes.set(`note-${String(n++).padStart(6, "0")}`, map)
        })
      }
      await last
    },
    setTitle(id, title) {
      notes.get(id).set("title", title)
      return last
    },
    insert(id, at, string) {
      const body = notes.get(id).get("body")
      body.insert(at(body.toString()), string)
      return last
    },
    body: (id) => notes.get(id).get("body").toString(),
    watch(id, f) {
      const body = notes.get(id).get("body")
      body.observe(({ changes }) => f(changes.delta.map(({ insert = "" }) => insert).join("")))
    },
    shown: () => provider.synced(),
    /** y-leveldb writes updates in order, so all are written when the last one is. */
    saved: () => last,
    sent: () => provider.sent(),
    connect(to) {
      provider = connect(doc, to)
    },
    async close() {
      provider?.close()
      await last
      await disk.destroy()
    },
  }
}
