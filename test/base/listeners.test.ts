import { afterEach, expect, test, vi } from "vitest"
import { Listeners } from "../../src/base/listeners.ts"

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

const thrown = new Error("of a listener")
async function heard(now = false): Promise<string[]> {
  const listeners = new Listeners<[string]>()
  const heard: string[] = []
  listeners.add(() => {
    throw thrown
  })
  listeners.add((what) => heard.push(what))
  if (now) listeners.tellNow("once")
  else listeners.tell(() => ["once"])
  await new Promise((resolve) => setTimeout(resolve))
  return heard
}

test.each([
  ["at the end of the turn", false],
  ["at once", true],
])(
  "a listener that throws, called %s, ends no process: its error is logged, and the next one is called",
  async (_, now) => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {})
    const ended = vi.fn()
    process.prependListener("uncaughtException", ended)
    expect(await heard(now)).toEqual(["once"])
    process.removeListener("uncaughtException", ended)
    expect(error.mock.calls).toEqual([[thrown]])
    expect(ended).not.toHaveBeenCalled()
  },
)

test.each([
  ["at the end of the turn", false],
  ["at once", true],
])("an async listener that rejects, called %s, ends no process: its error is logged", async (_, now) => {
  const error = vi.spyOn(console, "error").mockImplementation(() => {})
  const listeners = new Listeners<[]>()
  listeners.add(async () => {
    throw thrown
  })
  const ended = vi.fn()
  process.prependListener("unhandledRejection", ended)
  if (now) listeners.tellNow()
  else listeners.tell(() => [])
  await new Promise((resolve) => setTimeout(resolve))
  process.removeListener("unhandledRejection", ended)
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

test("listeners that are added during a call are not called, and those that are removed are not either", async () => {
  const listeners = new Listeners<[string]>()
  const heard: string[] = []
  listeners.add((what) => {
    heard.push(what)
    remove()
    listeners.add((later) => heard.push(`${later}, added`))
  })
  const remove = listeners.add((what) => heard.push(`${what}, removed`))
  listeners.tellNow("now")
  expect(heard).toEqual(["now"])
})

test("what is told at the end of the turn is told after what the caller did in the turn", async () => {
  const listeners = new Listeners<[string]>()
  const heard: string[] = []
  listeners.add((what) => heard.push(what))
  listeners.tell(() => ["told"])
  heard.push("done")
  await Promise.resolve()
  expect(heard).toEqual(["done", "told"])
})
