import { openWorkspace } from "headwater"
import { indexedDBStore } from "headwater/indexeddb"
import { notes as definition } from "../../examples/notes/notes.ts"

// A page with the store and the workspace of the notes page, for a test to call. `fill` creates many notes. `write`
// writes until the page is killed, and calls `saved` for each saved note.
declare function saved(id: string): void
const workspace = await openWorkspace({
  id: "notes",
  collections: { notes: definition },
  store: indexedDBStore("notes"),
})
const { notes } = workspace

async function fill(count: number): Promise<void> {
  const words = "river delta spring basin current harbour ridge meadow".split(" ")
  const body = (n: number) => Array.from({ length: 100 }, (_, k) => words[(n * 7 + k * 3) % words.length]).join(" ")
  for (let at = 0; at < count; at += 500) {
    const part = Array.from({ length: Math.min(500, count - at) }, (_, k) => at + k)
    await Promise.all(part.map((n) => notes.create({ title: `Note ${n}`, body: body(n), tags: ["seeded"] })))
  }
  await workspace.close()
}

async function write(): Promise<never> {
  for (let n = 0; ; n++) {
    const row = await notes.create({ title: `Saved ${n}`, body: "x".repeat(500) })
    await notes.update(row.id, (draft, edit) => {
      edit.splice("body", 0, 0, `${n} `)
      draft.tags = ["twice"]
    })
    saved(row.id)
  }
}

/** Returns every note as `read` returns it, and whether the row of the note has the same title and body. */
async function check(): Promise<{ id: string; body: string; tags: number; agrees: boolean }[]> {
  return Promise.all(
    notes.all().map(async (row) => {
      const whole = await notes.read(row.id)
      const body = whole?.body ?? ""
      return {
        id: row.id,
        body,
        tags: whole?.tags?.length ?? 0,
        agrees: body === row.body && row.title === whole?.title,
      }
    }),
  )
}

Object.assign(window, { writer: { fill, write, check } })
