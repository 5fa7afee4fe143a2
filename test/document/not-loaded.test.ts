import { expect, test } from "vitest"
import { loadAutomerge, newHandle } from "../../src/document/automerge.ts"

test("a document that is made before Automerge is loaded fails with a code, and the message says what to call", async () => {
  expect(() => newHandle()).toThrow(/^WASM_FAILED: .*loadAutomerge/)
  await loadAutomerge()
  newHandle().free()
})
