/** Headwater as in its README: a workspace on `nodeStore`, and a relay. */
import { collection, openWorkspace, text } from "../../../dist/doors/index.js"
import { nodeStore } from "../../../dist/doors/store/node.js"

/** Returns a function. It takes the present text, and returns the capital letters that are new since its last call. */
function newCapitals(text) {
  const count = (string) => {
    const counts = new Map()
    for (const letter of string.match(/[A-Z]/g) ?? []) counts.set(letter, (counts.get(letter) ?? 0) + 1)
    return counts
  }
  let before = count(text)
  return (after) => {
    const now = count(after)
    const gained = Array.from(now, ([letter, times]) => letter.repeat(times - (before.get(letter) ?? 0))).join("")
    before = now
    return gained
  }
}

const notes = collection("notes", undefined, { fields: { body: text() } })

export async function open({ folder, url }) {
  const ws = await openWorkspace({
    id: "bench",
    collections: { notes },
    store: nodeStore(folder),
    ...(url !== undefined && { relay: { url } }),
  })
  const writes = new Set()
  const write = (promise) => {
    const done = promise.finally(() => writes.delete(done))
    writes.add(done)
    return done
  }
  return {
    root: "",
    ids: () => ws.notes.all().map((row) => row.id),
    count: () => ws.notes.all().length,
    list: () => ws.notes.all(),
    create: (list) => Promise.all(list.map((note) => write(ws.notes.create(note)))),
    setTitle: (id, title) =>
      write(
        ws.notes.update(id, (draft) => {
          draft.title = title
        }),
      ),
    insert: (id, at, string) =>
      write(ws.notes.update(id, (draft, edit) => edit.splice("body", at(draft.body), 0, string))),
    body: (id) => ws.notes.get(id).body,
    /** The README advises this for a note that somebody may write to. */
    openNote: (id) => ws.notes.read(id),
    watch(id, f) {
      const news = newCapitals(ws.notes.get(id).body)
      ws.notes.subscribe((_, { changed }) => {
        if (changed.includes(id)) f(news(ws.notes.get(id).body))
      })
    },
    shown: () => ws.whenSynced(),
    saved: () => Promise.all(writes),
    sent: () => ws.whenStored(),
    connect: (relay) => ws.connect({ url: relay }),
    close: () => ws.close(),
  }
}
