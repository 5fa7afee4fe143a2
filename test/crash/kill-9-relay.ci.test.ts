import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { afterAll, it } from "vitest"
import { endAll } from "../support/processes.ts"
import { RelayUnderLoad } from "../support/relay-under-load.ts"

const kills = process.env["HEADWATER_LONG"] === "1" ? 20 : 5
const folder = mkdtempSync(path.join(tmpdir(), "headwater-kill-"))
let load: RelayUnderLoad | undefined

afterAll(async () => {
  await load?.close()
  await endAll()
  rmSync(folder, { recursive: true, force: true })
})

it(`a relay that is killed ${kills} times under load keeps all that it had acknowledged, and gets all that was saved`, async () => {
  load = await RelayUnderLoad.start(folder, path.join(folder, "relay"))
  await load.kill(kills)
})
