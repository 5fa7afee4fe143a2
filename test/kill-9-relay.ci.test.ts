import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { endAll } from "./support/processes.ts"
import { RelayUnderLoad } from "./support/relay-under-load.ts"

const kills = process.env["HEADWATER_LONG"] === "1" ? 20 : 5
const folder = mkdtempSync(path.join(tmpdir(), "headwater-kill-"))
let load: RelayUnderLoad | undefined

beforeAll(async () => {
  load = await RelayUnderLoad.start(folder, path.join(folder, "relay"))
})
afterAll(async () => {
  await load?.close()
  await endAll()
  rmSync(folder, { recursive: true, force: true })
})

describe.sequential("a relay that is killed with SIGKILL under load", () => {
  for (let kill = 1; kill <= kills; kill++) {
    it(`has everything that it had acknowledged (${kill} of ${kills})`, async () => {
      await load!.untilBusy()
      await load!.relay.end("SIGKILL")
      const acknowledged = [...load!.stored]
      await load!.restart(acknowledged)
    })
  }

  it("gets whatever was saved, and all replicas agree", async () => {
    await load!.finish()
    expect(load!.stored.length).toBeGreaterThan(kills * 30)
    console.log(
      `${kills} kills of the relay: ${load!.saved.length} saved, ${load!.stored.length} said to be stored, 0 lost`,
    )
  })
})
