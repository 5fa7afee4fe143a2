/** Kills a replica and a relay with SIGKILL, once each. `kill-9-replica.ci` and `kill-9-relay.ci` do it many times. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { afterEach, it } from "vitest"
import { endAll } from "../support/processes.ts"
import { RelayUnderLoad } from "../support/relay-under-load.ts"
import { killReplica } from "../support/replica-under-kill.ts"

const folder = mkdtempSync(path.join(tmpdir(), "headwater-kill-"))
let load: RelayUnderLoad | undefined

afterEach(async () => {
  await load?.close()
  load = undefined
  await endAll()
  rmSync(folder, { recursive: true, force: true })
})

it("a replica that is killed under load keeps all that it reported as saved, and pushes it to the relay", () =>
  killReplica(folder, 1))

it("a relay that is killed under load keeps all that it had acknowledged, and gets all that was saved", async () => {
  load = await RelayUnderLoad.start(folder, path.join(folder, "relay"))
  await load.kill(1)
})
