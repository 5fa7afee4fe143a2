import { runInNewContext } from "node:vm"
import { expect, test } from "vitest"
import { opening } from "../../src/store/opening.ts"

const disk = { open: async () => {}, close: async () => {} }

test.each([
  ["an error", () => new Error("no room"), "no room"],
  ["an error without a message", () => new DOMException("", "QuotaExceededError"), "QuotaExceededError"],
  ["an error of another realm", () => runInNewContext("new Error('no room')"), "no room"],
  [
    "an error of another realm in one",
    () => new Error("failed", { cause: runInNewContext("new Error('no room')") }),
    "no room",
  ],
  ["an error with an empty cause", () => new Error("failed", { cause: {} }), "failed"],
  ["a text", () => "no room", "no room"],
])("the error of a failed disk quotes the message of %s", async (_, thrown, words) => {
  const store = opening(disk)
  const release = await store.claim("w")
  const reading = store.run("read", () => Promise.reject(thrown()))
  await expect(reading).rejects.toThrow(`STORE_FAILED: the store could not read: ${words}`)
  await release()
})
