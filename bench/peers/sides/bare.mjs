/**
 * Automerge alone, for comparison: documents in memory, and a file to which each change is appended and flushed. There
 * are no rows and no network, and the documents cannot be loaded from the file.
 */
import { mkdir, open as openFile } from "node:fs/promises"
import path from "node:path"
import * as A from "@automerge/automerge"

export async function open({ folder }) {
  await mkdir(folder, { recursive: true })
  const file = await openFile(path.join(folder, "changes"), "a")
  const documents = []
  return {
    root: "",
    ids: () => documents.map((_, i) => i),
    list: () => documents,
    async create(list) {
      for (const note of list) documents.push(A.from(note))
    },
    async setTitle(i, title) {
      documents[i] = A.change(documents[i], (draft) => {
        draft.title = new A.ImmutableString(title)
      })
      await file.write(A.getLastLocalChange(documents[i]))
      await file.datasync()
    },
    async saved() {},
    close: () => file.close(),
  }
}
