/** The relay of Headwater as a library: one function. `headwater-relay serve` is the same from a command line. */

import { HeadwaterError } from "../src/base/errors.ts"
import { openLogs } from "./log/logs.ts"
import { nodeClock } from "./machine/clock.node.ts"
import { nodeDisk } from "./machine/disk.node.ts"
import { Workspaces } from "./serve/served-workspace.ts"
import { isLoopback, RelayServer } from "./serve/server.ts"

export interface RelayOptions {
  /** TCP port; 0 takes a free one. 4400 unless given. */
  readonly port?: number | undefined
  /** Name or address to listen on. `127.0.0.1` unless given; any that others can reach needs `insecure`. */
  readonly host?: string | undefined
  /** The folder that holds the logs; made when it is not there. One relay at a time has it. `./data` unless given. */
  readonly data?: string | undefined
  /** There are no tokens yet: whoever reaches the relay may read and write everything. Says that this is meant. */
  readonly insecure?: boolean | undefined
  /** Pages that may connect besides those on loopback, as browsers name them: `https://notes.example`; `*` for any. */
  readonly origins?: readonly string[] | undefined
  /** Sockets at one time; further ones are refused with HTTP 503. 10,000 unless given. */
  readonly connections?: number | undefined
  /** Told what happens, for a log: never a token, never what is inside a change. */
  readonly report?:
    | ((level: "info" | "warn" | "error", event: string, details?: Readonly<Record<string, unknown>>) => void)
    | undefined
}

export interface Relay {
  /** Where replicas connect: `ws://127.0.0.1:4400`. */
  readonly url: string
  readonly port: number
  /** Stops accepting, flushes and acknowledges the pushes in hand, closes the sockets with 1001, then the logs. */
  close(): Promise<void>
}

/**
 * Starts a relay; resolves once it listens. An ack from it means that the change is on its disk.
 * `FORBIDDEN`: a host that others can reach, without `insecure`. `STORE_IN_USE`: another relay has the folder.
 * `LOG_FAILED`: the folder cannot be used. An address that is taken rejects as Node does (`EADDRINUSE`).
 */
export async function createRelay(options: RelayOptions = {}): Promise<Relay> {
  const { port = 4400, host = "127.0.0.1", data = "./data", insecure = false } = options
  const { origins = [], connections = 10_000, report = () => {} } = options
  if (!insecure && !isLoopback(host)) {
    throw new HeadwaterError(
      "FORBIDDEN",
      `others can reach ${host}, and there are no tokens yet; say insecure if you mean it`,
    )
  }
  const logs = await openLogs({
    folder: data,
    disk: nodeDisk,
    clock: nodeClock,
    report: ({ level, event, ...details }) => report(level, event, details),
  })
  const server = new RelayServer({ workspaces: new Workspaces(logs), clock: nodeClock, report, origins, connections })
  try {
    const taken = await server.listen(port, host)
    report("info", "listening", { host, port: taken, data })
    let closing: Promise<void> | undefined
    const close = async () => {
      report("info", "closing")
      await server.stop()
      await logs.close()
      report("info", "closed")
    }
    return {
      url: `ws://${host.includes(":") ? `[${host}]` : host}:${taken}`,
      port: taken,
      close: () => (closing ??= close()),
    }
  } catch (error) {
    await logs.close()
    throw error
  }
}
