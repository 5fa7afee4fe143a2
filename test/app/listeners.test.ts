import { afterEach, expect, test, vi } from "vitest"
import { Listeners } from "../../src/app/listeners.ts"

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

const thrown = new Error("of a listener")
async function heard(): Promise<string[]> {
  const listeners = new Listeners<[string]>()
  const heard: string[] = []
  listeners.add(() => {
    throw thrown
  })
  listeners.add((what) => heard.push(what))
  listeners.tell(() => ["once"])
  await new Promise((resolve) => setTimeout(resolve))
  return heard
}

test("a listener that throws does not end the process: its error is logged, and the next listener is called", async () => {
  const error = vi.spyOn(console, "error").mockImplementation(() => {})
  const ended = vi.fn()
  process.prependListener("uncaughtException", ended)
  expect(await heard()).toEqual(["once"])
  process.removeListener("uncaughtException", ended)
  expect(error.mock.calls).toEqual([[thrown]])
  expect(ended).not.toHaveBeenCalled()
})

test("a page reports the error of a listener as an uncaught error of the page", async () => {
  const error = vi.spyOn(console, "error")
  const reportError = vi.fn()
  vi.stubGlobal("reportError", reportError)
  expect(await heard()).toEqual(["once"])
  expect(reportError.mock.calls).toEqual([[thrown]])
  expect(error).not.toHaveBeenCalled()
})
