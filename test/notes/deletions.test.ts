import { beforeEach, describe, expect, it } from "vitest"
import { showDeletions } from "../../examples/notes/deletions.ts"
import { showEditor } from "../../examples/notes/editor.ts"
import type { List } from "../../examples/notes/list.ts"
import { untilPasses } from "../support/until.ts"
import { at, gone, onDisk, reported, type, usePage, ws } from "./editor-page.ts"

usePage()

describe("a deletion", () => {
  let notes: typeof ws.notes
  const show = () => {
    const editor = showEditor(notes, () => {})
    const list: List = { select() {}, focus() {} }
    return { editor, deletions: showDeletions(notes, editor, list, () => editor.close()) }
  }
  const offered = () => (at("toast").hidden ? undefined : at("toast").querySelector("span").textContent)
  const undo = () => at("undo").dispatchEvent(new Event("click"))
  const titles = () => ws.notes.all().map(({ title }) => title)
  beforeEach(async () => {
    notes = ws.notes
    for (const id of ["First", "Second"]) await ws.notes.create({ title: id, body: "" }, { id })
  })

  it("can be undone once the disk works again, if the first undo failed", async () => {
    const { deletions } = show()
    for (const id of ["First", "Second"]) deletions.remove(id)
    await untilPasses(() => expect(titles()).toEqual([]))
    expect(offered()).toBe("2 notes deleted")
    onDisk(gone)
    undo()
    await untilPasses(() => expect(reported()).toBe("The note could not be restored"))
    expect(offered()).toBe("2 notes deleted")
    onDisk(undefined)
    undo()
    await untilPasses(() => expect(titles()).toEqual(["Second"]))
    undo()
    await untilPasses(() => expect(titles()).toEqual(["First", "Second"]))
    expect(offered()).toBe(undefined)
  })

  it("can be undone if it succeeded although the disk reported a failure", async () => {
    notes = {
      ...ws.notes,
      async delete(id) {
        await ws.notes.delete(id)
        return gone()
      },
    }
    show().deletions.remove("First")
    await untilPasses(() => expect(titles()).toEqual(["Second"]))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(offered()).toBe("Note deleted")
    undo()
    await untilPasses(() => expect(titles()).toEqual(["First", "Second"]))
  })

  it("that failed is reported, and there is nothing to undo", async () => {
    onDisk(gone)
    show().deletions.remove("First")
    await untilPasses(() => expect(reported()).toBe("The note could not be deleted"))
    expect([offered(), titles()]).toEqual([undefined, ["First", "Second"]])
  })

  it("of a new note that could not be saved leaves nothing to undo", async () => {
    const { editor, deletions } = show()
    onDisk(gone)
    editor.create("n3")
    type("text")
    deletions.remove("n3")
    expect(offered()).toBe("Note deleted")
    await untilPasses(() => expect(offered()).toBe(undefined))
    onDisk(undefined)
    deletions.undo()
    expect(titles()).toEqual(["First", "Second"])
  })
})
