/** The relay of Headwater as a library. `headwater-relay serve` starts the same relay from a command line. */

import { HeadwaterError } from "../src/base/errors.ts"
import { openLogs } from "./log/logs.ts"
import { nodeClock } from "./machine/clock.node.ts"
import { nodeDisk } from "./machine/disk.node.ts"
import { SparingReport } from "./machine/report.ts"
import { isLoopback } from "./serve/origins.ts"
import { ServedWorkspaces } from "./serve/served-workspace.ts"
import { RelayServer } from "./serve/server.ts"

export interface RelayOptions {
  /** TCP port, 4400 by default. 0 takes any free port. */
  readonly port?: number | undefined
  /** Name or address to listen on, `127.0.0.1` by default. A host that other machines can reach needs `insecure`. */
  readonly host?: string | undefined
  /** The folder of the logs, made if it does not exist. One relay at a time may use it. `./data` by default. */
  readonly data?: string | undefined
  /**
   * Allows a `host` that other machines can reach. The relay checks no tokens yet: everybody who reaches it may read
   * and write everything.
   */
  readonly insecure?: boolean | undefined
  /**
   * Origins of pages that may connect besides those on loopback, such as `https://notes.example` or
   * `app://obsidian.md`; `*` for any. The README lists the origins of Electron, Tauri and others.
   */
  readonly origins?: readonly string[] | undefined
  /** The most sockets that may be open at one time; further sockets are refused with HTTP 503. 10,000 by default. */
  readonly connections?: number | undefined
  /**
   * Called with each event of the relay. No event has a token or the content of a change. At most 20 equal events (same
   * name and code) are reported in a minute. The number left out is reported with the next equal event after that
   * minute, or when the relay closes.
   */
  readonly report?:
    | ((level: "info" | "warn" | "error", event: string, details?: Readonly<Record<string, unknown>>) => void)
    | undefined
}

export interface Relay {
  /** The address to connect replicas to, such as `ws://127.0.0.1:4400`. */
  readonly url: string
  readonly port: number
  /**
   * Stops accepting connections, answers the messages that have arrived, closes the sockets with close code 1001, and
   * then closes the logs.
   */
  close(): Promise<void>
}

/**
 * Starts a relay; resolves once the relay listens. An ack from the relay means that the change is on its disk.
 *
 * Rejects with
 * - `FORBIDDEN`: other machines can reach `host`, and `insecure` is not set;
 * - `STORE_IN_USE`: another relay uses the folder;
 * - `URL_INVALID`: one of `origins` is not an origin that a browser sends;
 * - `LOG_FAILED`: the folder cannot be used;
 * - Node's error (`EADDRINUSE`, say): the relay cannot listen.
 */
export async function createRelay(options: RelayOptions = {}): Promise<Relay> {
  const { port = 4400, host = "127.0.0.1", data = "./data", insecure = false } = options
  const { origins = [], connections = 10_000 } = options
  const reports = new SparingReport(options.report ?? (() => {}), nodeClock.now)
  const { report } = reports
  if (!insecure && !isLoopback(host)) {
    throw new HeadwaterError(
      "FORBIDDEN",
      `other machines can reach ${host}, and the relay checks no tokens yet; listen on 127.0.0.1, or pass insecure`,
    )
  }
  const logs = await openLogs({
    folder: data,
    disk: nodeDisk,
    clock: nodeClock,
    report: ({ level, event, ...details }) => report(level, event, details),
  })
  try {
    const workspaces = new ServedWorkspaces(logs)
    const server = new RelayServer({
      workspaces,
      clock: nodeClock,
      report,
      origins,
      connections,
      health: () => logs.check(),
    })
    const taken = await server.listen(port, host)
    report("info", "listening", { host, port: taken, data })
    let closing: Promise<void> | undefined
    const close = async () => {
      report("info", "closing")
      await server.stop()
      await logs.close()
      reports.end()
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
