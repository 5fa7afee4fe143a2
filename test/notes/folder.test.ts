import { describe, expect, it } from "vitest"
import { inFolder } from "../../examples/notes/folder.ts"

/** A folder as the browser passes it, on a disk that distinguishes the Unicode spellings of a name (NFC, NFD). */
class Folder {
  readonly folders = new Map<string, Folder>()
  readonly files = new Map<string, string>()
  async getDirectoryHandle(name: string, { create = false } = {}) {
    if (!this.folders.has(name) && create) this.folders.set(name, new Folder())
    return this.folders.get(name) ?? missing()
  }
  async getFileHandle(name: string, { create = false } = {}) {
    if (!this.files.has(name) && create) this.files.set(name, "")
    const text = this.files.get(name) ?? missing()
    return {
      getFile: async () => new Blob([text]),
      createWritable: async () => ({
        write: async (text: string) => this.files.set(name, text),
        close: async () => {},
      }),
    }
  }
}
const missing = (): never => {
  throw new DOMException("there is no such entry", "NotFoundError")
}

describe("a folder that is exported to", () => {
  const [composed, decomposed] = ["caf\u00e9", "cafe\u0301"]

  it("gets no second folder whose name differs only in Unicode spelling", async () => {
    for (const [here, wanted] of [
      [composed, decomposed],
      [decomposed, composed],
    ] as const) {
      const root = new Folder()
      const inner = await (await root.getDirectoryHandle(here, { create: true })).getDirectoryHandle(here, {
        create: true,
      })
      const target = inFolder(root as unknown as FileSystemDirectoryHandle)
      await target.write(`${wanted}/${wanted}/new.md`, "text")
      expect(inner.files).toEqual(new Map([["new.md", "text"]]))
      expect([...root.folders.keys()]).toEqual([here])
    }
  })

  it("gets the missing folders, and a read finds only the path that was written", async () => {
    const target = inFolder(new Folder() as unknown as FileSystemDirectoryHandle)
    expect(await target.read("a/b/c.md")).toBe(undefined)
    await target.write("a/b/c.md", "text")
    expect(await (await target.read("a/b/c.md"))?.text()).toBe("text")
    expect(await target.read("a/c.md")).toBe(undefined)
    expect(await target.read("c.md")).toBe(undefined)
  })
})
