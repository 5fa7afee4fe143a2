import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { type Clock, randomUnit, systemClock } from "../../src/base/env.ts"
import { Turns } from "../../src/base/turns.ts"

describe("the system's clock", () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  const day = 24 * 3_600_000

  test("calls the function once, after the time has passed", () => {
    const f = vi.fn()
    systemClock.after(1000, f)
    vi.advanceTimersByTime(999)
    expect(f).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    vi.advanceTimersByTime(10_000)
    expect(f).toHaveBeenCalledTimes(1)
  })

  test.each([20 * day, 2 ** 31 - 1, 2 ** 31, 60 * day])("waits %i ms, which may be longer than one timer can", (ms) => {
    const f = vi.fn()
    systemClock.after(ms, f)
    vi.advanceTimersByTime(ms - 1)
    expect(f).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(f).toHaveBeenCalledTimes(1)
    vi.advanceTimersByTime(200 * day)
    expect(f).toHaveBeenCalledTimes(1)
  })

  test("never calls the function after a cancellation, early or late", () => {
    for (const before of [0, 10 * day, 40 * day]) {
      const f = vi.fn()
      const cancel = systemClock.after(60 * day, f)
      vi.advanceTimersByTime(before)
      cancel()
      vi.advanceTimersByTime(100 * day)
      expect(f).not.toHaveBeenCalled()
    }
  })

  test("returns the requested number of random bytes, different ones each time", () => {
    const [a, b] = [systemClock.random(32), systemClock.random(32)]
    expect(a).toHaveLength(32)
    expect(a).not.toEqual(b)
  })
})

test("a timer in the background keeps no process alive", () => {
  const timers = vi.spyOn(globalThis, "setTimeout")
  for (const background of [true, false]) systemClock.after(60_000, () => {}, background)()
  expect(timers.mock.results.map(({ value }) => value.hasRef())).toEqual([false, true])
  timers.mockRestore()
})

describe("0 ms in a page", () => {
  /** A hidden page: a browser calls its timers once a minute. */
  beforeEach(() => {
    vi.stubGlobal("document", {})
    const { setTimeout } = globalThis
    vi.stubGlobal("setTimeout", (f: () => void, ms: number) => setTimeout(f, Math.max(ms, 60_000)).unref())
  })
  afterEach(() => void vi.unstubAllGlobals())

  /** Waits long enough for a message of a `MessageChannel` to arrive. */
  async function turns(): Promise<void> {
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  test("do not wait for a timer, and let other work have its turn", async () => {
    const f = vi.fn()
    systemClock.after(0, f)
    await Promise.resolve()
    expect(f).not.toHaveBeenCalled()
    await turns()
    expect(f).toHaveBeenCalledTimes(1)
  })

  test("do not wait in the middle of divided work", async () => {
    const work = new Turns(systemClock, 10)
    let done = 0
    void (async () => {
      for (; done < 30; done++) await work.worked(10)
    })()
    for (let i = 0; i < 30; i++) await turns()
    expect(done).toBe(30)
  })

  test("never call the function after a cancellation", async () => {
    const f = vi.fn()
    systemClock.after(0, f)()
    await turns()
    expect(f).not.toHaveBeenCalled()
  })

  test("take a timer where there are no messages", async () => {
    vi.stubGlobal("MessageChannel", undefined)
    const f = vi.fn()
    vi.stubGlobal("setTimeout", vi.fn())
    systemClock.after(0, f)
    expect(vi.mocked(setTimeout)).toHaveBeenCalledWith(f, 0)
  })
})

test("a random number is at least 0 and below 1, and uses all 32 random bits", () => {
  const of = (...bytes: number[]) => {
    const random = vi.fn(() => Uint8Array.from(bytes))
    const unit = randomUnit({ random } as unknown as Clock)
    expect(random).toHaveBeenCalledExactlyOnceWith(4)
    return unit
  }
  expect(of(0, 0, 0, 0)).toBe(0)
  expect(of(0x80, 0, 0, 0)).toBe(0.5)
  expect(of(0, 0, 0, 1)).toBe(2 ** -32)
  expect(of(255, 255, 255, 255)).toBe(1 - 2 ** -32)
})
