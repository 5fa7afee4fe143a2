/** The relay's machine: its disk, and while it runs the real sessions and the real log on it. */
import type { Log, Logs } from "../../relay/log.ts"
import { Session } from "../../relay/session.ts"
import { Workspaces } from "../../relay/workspace.ts"
import { type Entry, encodeEntry } from "../../src/protocol.ts"
import { MemoryLogs } from "../support/memory-log.ts"
import { type Latency, Process, type Scheduler } from "./clock.ts"
import type { Connection, Host, Line, Listener, Network } from "./network.ts"
import type { Oracle } from "./oracle.ts"
import { WORKSPACE } from "./replica.ts"

export class RelayHost implements Host {
  backups: never[] = []
  process: Process | undefined
  readonly #scheduler: Scheduler
  readonly #network: Network
  readonly #oracle: Oracle
  readonly #principal: (owner: string) => string
  #workspaces: Workspaces | undefined
  #life = 0
  readonly #appended: Uint8Array[] = []
  #logs = new MemoryLogs()

  constructor(
    scheduler: Scheduler,
    network: Network,
    oracle: Oracle,
    _latency: Latency,
    principal: (owner: string) => string,
  ) {
    this.#scheduler = scheduler
    this.#network = network
    this.#oracle = oracle
    this.#principal = principal
  }

  get running(): boolean {
    return this.process !== undefined
  }

  async start(): Promise<void> {
    this.process = new Process(this.#scheduler, `relay.${++this.#life}`)
    this.#workspaces = new Workspaces(
      watched(this.#logs as unknown as Logs, (position, entry) => {
        this.#appended.push(encodeEntry(entry))
        this.#oracle.appended(position, entry)
      }),
    )
  }

  async crash(told: number): Promise<void> {
    this.process?.kill()
    this.process = undefined
    this.#workspaces = undefined
    this.#network.hostDied((connection: Connection) => (connection.id + told) % 2 === 0)
    this.#scheduler.after(500, "relay starts", () => void this.start())
  }

  backUp(): void {}
  async restore(_i: number): Promise<void> {}
  release(): void {}
  async flush(): Promise<boolean> {
    return false
  }

  durable(bytes: Uint8Array): boolean {
    return this.#appended.some((entry) => Buffer.from(entry).includes(Buffer.from(bytes)))
  }

  async readLog(): Promise<Entry[]> {
    const page = await this.#logs.of(WORKSPACE).since(0, 1e9)
    return page.entries.map(({ entry }) => entry)
  }

  accept(_url: string, line: Line): Listener | undefined {
    const workspaces = this.#workspaces
    if (!this.process || !workspaces) return undefined
    const session = new Session({
      id: line.id,
      workspaces,
      clock: this.process,
      principal: this.#principal(line.owner),
      access: "write",
      send: (frame) => line.send(frame),
      close: (code, reason) => line.close(code, reason),
      buffered: () => line.buffered(),
    })
    return {
      receive: (frame) => session.receive(frame),
      closed: () => session.closed(),
      drained: () => session.drained(),
    }
  }
}

/** The same logs; `appended` hears of every entry. */
function watched(logs: Logs, appended: (position: number, entry: Entry) => void): Logs {
  const watch = (log: Log): Log =>
    new Proxy(log, {
      get(target, name) {
        if (name === "append") {
          return (...given: Parameters<Log["append"]>) => {
            const position = target.append(...given)
            appended(position, given[0])
            return position
          }
        }
        const value = Reflect.get(target, name, target)
        return typeof value === "function" ? value.bind(target) : value
      },
    })
  return { open: async (workspace) => watch(await logs.open(workspace)), close: () => logs.close() }
}
