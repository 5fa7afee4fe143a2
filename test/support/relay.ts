/** A relay with real sockets and files. A test can hold back the syncs of its disk, or make them fail. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import type { Log } from "../../relay/log/contract.ts"
import type { LogSizes } from "../../relay/log/log-sizes.ts"
import { openLogs } from "../../relay/log/logs.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import type { ServeSizes } from "../../relay/serve/serve-sizes.ts"
import { ServedWorkspaces } from "../../relay/serve/served-workspace.ts"
import { RelayServer, type ServerOptions } from "../../relay/serve/server.ts"
import type { Entry } from "../../src/wire/protocol.ts"
import { chunkOf, genesis } from "./changes.ts"
import { type SlowDisk, slowDisk } from "./slow-disk.ts"
import { Wire } from "./wire.ts"

export interface TestRelay extends AsyncDisposable {
  readonly url: string
  readonly server: RelayServer
  readonly disk: SlowDisk
  readonly folder: string
  /** The log that the relay's connections use. */
  log(workspace?: string): Promise<Log>
  dial(): Promise<Wire>
}

export async function startRelay(
  options: Partial<ServerOptions> & { sizes?: Partial<ServeSizes>; logSizes?: Partial<LogSizes> } = {},
): Promise<TestRelay> {
  const { sizes, logSizes = {}, ...more } = options
  const folder = mkdtempSync(path.join(tmpdir(), "headwater-relay-"))
  const disk = slowDisk()
  const logs = await openLogs({ folder, disk, clock: nodeClock, report() {}, sizes: logSizes })
  const workspaces = new ServedWorkspaces(logs, sizes)
  const server = new RelayServer({
    workspaces,
    clock: nodeClock,
    report() {},
    connections: 1000,
    origins: [],
    health: () => logs.check(),
    ...more,
  })
  const url = `ws://127.0.0.1:${await server.listen(0, "127.0.0.1")}`
  const wires: Wire[] = []
  return {
    url,
    server,
    disk,
    folder,
    log: (workspace = "w") => logs.open(workspace),
    async dial() {
      const wire = await Wire.dial(url)
      wires.push(wire)
      return wire
    },
    async [Symbol.asyncDispose]() {
      disk.release()
      for (const wire of wires) wire.close()
      await server.stop()
      await logs.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** An entity as one entry: its genesis, and a change by this actor. */
export function note(entity: string, actor: string, value: string | Uint8Array = "hello"): Entry {
  const first = genesis(entity)
  const content = chunkOf({ actor, startOp: 2, deps: [first.hash], value })
  return { entity, collection: "notes", kind: "change", chunks: [first.chunk, content] }
}
