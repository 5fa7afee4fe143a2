/** `slow-relay <folder> <flush ms>` starts a relay. Each flush of its disk takes `flush ms` longer. */
import { setTimeout as sleep } from "node:timers/promises"
import { openLogs } from "../relay/log/logs.ts"
import { nodeClock } from "../relay/machine/clock.node.ts"
import { nodeDisk } from "../relay/machine/disk.node.ts"
import type { Disk } from "../relay/machine/disk.ts"
import { ServedWorkspaces } from "../relay/serve/served-workspace.ts"
import { RelayServer } from "../relay/serve/server.ts"

const [folder = ".", flushMs = "0"] = process.argv.slice(2)
const slowDisk: Disk = {
  ...nodeDisk,
  async open(path) {
    const file = await nodeDisk.open(path)
    const sync = file.sync.bind(file)
    return Object.assign(file, {
      async sync() {
        await sync()
        await sleep(Number(flushMs))
      },
    })
  },
}
const report = () => {}
const logs = await openLogs({ folder, disk: slowDisk, clock: nodeClock, report })
const workspaces = new ServedWorkspaces(logs)
const server = new RelayServer({ workspaces, clock: nodeClock, report, origins: [], connections: 10_000 })
const port = await server.listen(0, "127.0.0.1")
console.log(JSON.stringify({ url: `ws://127.0.0.1:${port}`, port }))
