import type { HeadwaterError, Status } from "headwater"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { watchDisk } from "../../examples/notes/disk.ts"
import type { Editor } from "../../examples/notes/editor.ts"
import { reported, usePage } from "./editor-page.ts"

usePage()

describe("the page on a failing disk", () => {
  const listed = async (...names: string[]) => names.map((name) => ({ name }))
  const retry = vi.fn()
  /** Lets five seconds pass, in which the page checks the disk. */
  const later = () => vi.advanceTimersByTimeAsync(5_000)
  let databases: () => Promise<object[]>
  let tell: (error: HeadwaterError | null) => void

  beforeEach(() => {
    vi.useFakeTimers()
    retry.mockClear()
    databases = () => listed("other", "notes")
    vi.stubGlobal("indexedDB", { databases: () => databases() })
  })
  afterEach(() => vi.useRealTimers())

  async function watch() {
    const workspace = {
      status: {} as Status,
      onStatus: (f: (status: Status) => void) => {
        tell = (error) => f({ error } as Status)
        return () => {}
      },
    }
    watchDisk(workspace, { retry } as unknown as Editor, "notes")
    await later()
  }

  /** Expects that the page retries its failed saves, and has opened no report. */
  async function expectRetries() {
    retry.mockClear()
    await later()
    expect([retry.mock.calls.length > 0, reported()]).toEqual([true, ""])
  }

  it.each([
    ["rejects", () => Promise.reject(new Error("the disk fails"))],
    [
      "throws",
      () => {
        throw new Error("the disk fails")
      },
    ],
  ])("reports no deletion when the list of databases %s, and goes on trying", async (_, fails) => {
    await watch()
    databases = fails
    tell({ code: "STORE_FAILED" } as HeadwaterError)
    await expectRetries()
    databases = () => listed("notes")
    await expectRetries()
  })

  it("notices a deletion although the first list of databases failed", async () => {
    databases = () => Promise.reject(new Error("the disk fails"))
    await watch()
    databases = () => listed("notes")
    await expectRetries()
    databases = () => listed("other")
    await later()
    expect(reported()).toMatch("The browser has deleted the notes on this device")
    retry.mockClear()
    await later()
    expect(retry).not.toHaveBeenCalled()
  })

  it("reports no deletion if the browser lists no database, or has no such list", async () => {
    databases = () => listed()
    await watch()
    await expectRetries()
    vi.stubGlobal("indexedDB", {})
    await expectRetries()
  })
})
