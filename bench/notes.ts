/** Opens and fills the notes that several benchmarks use. */
import { collection, openWorkspace, type Store, shape, text } from "headwater"

interface Note {
  readonly title: string
  readonly body: string
  readonly tags: readonly string[]
}
const notes = collection("notes", shape<Note>(), { fields: { body: text() } })
export type Notes = Awaited<ReturnType<typeof openNotes>>

export const openNotes = (store: Store, url?: string, id = "w") =>
  openWorkspace({ id, collections: { notes }, store, ...(url !== undefined && { relay: { url } }) })

const words = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor".split(" ")

/** Returns a note of about 1 kB. */
const note = (i: number): Note => ({
  title: `note ${i}`,
  body: Array.from({ length: 150 }, (_, k) => words[(i * 7 + k * 3) % words.length]).join(" "),
  tags: ["a", "b", "c"],
})

/** Creates notes until the workspace has `count`. */
export async function fill(ws: Notes, count: number): Promise<void> {
  for (let have = ws.notes.all().length; have < count; have += 200) {
    await Promise.all(Array.from({ length: Math.min(200, count - have) }, (_, i) => ws.notes.create(note(have + i))))
  }
}
