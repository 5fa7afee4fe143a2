import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { afterAll, it } from "vitest"
import { endAll } from "../support/processes.ts"
import { killReplica } from "../support/replica-under-kill.ts"

const kills = process.env["HEADWATER_LONG"] === "1" ? 20 : 5
const folder = mkdtempSync(path.join(tmpdir(), "headwater-kill-"))

afterAll(async () => {
  await endAll()
  rmSync(folder, { recursive: true, force: true })
})

it(`a replica that is killed ${kills} times under load keeps the row, the change and the outbox record of all that it reported as saved`, () =>
  killReplica(folder, kills))
