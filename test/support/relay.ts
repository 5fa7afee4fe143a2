/** A relay behind a real socket, on logs whose flush a test may hold back. */
import { RelayServer, type ServerOptions } from "../../relay/server.ts"
import { Workspaces } from "../../relay/workspace.ts"
import { systemClock } from "../../src/env.ts"
import type { Entry } from "../../src/protocol.ts"
import { change, genesis } from "./changes.ts"
import { MemoryLogs } from "./memory-log.ts"
import { Wire } from "./wire.ts"

export interface TestRelay extends AsyncDisposable {
  readonly url: string
  readonly server: RelayServer
  readonly logs: MemoryLogs
  dial(): Promise<Wire>
}

export async function startRelay(options: Partial<ServerOptions> & { ring?: number } = {}): Promise<TestRelay> {
  const { ring = 8 * 2 ** 20, ...more } = options
  const logs = new MemoryLogs()
  const workspaces = new Workspaces(logs, { ring })
  const server = new RelayServer({
    workspaces,
    clock: systemClock,
    report() {},
    connections: 1000,
    origins: [],
    ...more,
  })
  const url = `ws://127.0.0.1:${await server.listen(0, "127.0.0.1")}`
  const wires: Wire[] = []
  return {
    url,
    server,
    logs,
    async dial() {
      const wire = await Wire.dial(url)
      wires.push(wire)
      return wire
    },
    async [Symbol.asyncDispose]() {
      for (const wire of wires) wire.close()
      await server.stop()
    },
  }
}

/** An entity as one entry: its genesis and a change by this actor. */
export function note(entity: string, actor: string, value = "hello"): Entry {
  const first = genesis(entity)
  const { chunk } = change({ actor, startOp: 2, deps: [first.hash], value })
  return { entity, collection: "notes", kind: "change", chunks: [first.chunk, chunk] }
}
