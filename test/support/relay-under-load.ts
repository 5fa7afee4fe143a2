/**
 * Three replicas write to a relay that is killed again and again. After each kill the relay must still have all that it
 * had acknowledged.
 */
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { nodeStore } from "headwater/node"
import { expect } from "vitest"
import { missing, type Notes, openNotes, pullAll, view, Writer, type Written } from "./load.ts"
import { type RelayProcess, startRelay } from "./processes.ts"

export class RelayUnderLoad {
  /** The writes that were saved on one of the replicas. */
  readonly saved: Written[] = []
  /** The writes that were stored: a `whenStored()` that was called after they were saved has resolved. */
  readonly stored: Written[] = []
  relay: RelayProcess
  readonly #port: number
  readonly #replicas: Notes[] = []
  #writers: Writer[] = []
  #data: string

  private constructor(relay: RelayProcess, data: string) {
    this.relay = relay
    this.#port = relay.port
    this.#data = data
  }

  static async start(folder: string, data: string): Promise<RelayUnderLoad> {
    const load = new RelayUnderLoad(await startRelay(data, { seconds: 3600 }), data)
    for (const name of ["a", "b", "c"]) {
      const ws = await openNotes(nodeStore(path.join(folder, name)), load.relay.url)
      load.#replicas.push(ws)
      load.#writers.push(new Writer(ws, name, (written) => load.saved.push(written), { pause: 25 }))
      void load.#noteStored(ws, name)
    }
    return load
  }

  async #noteStored(ws: Notes, name: string): Promise<void> {
    const known = new Set<Written>()
    try {
      for (;;) {
        const before = this.saved.filter((one) => one.token.startsWith(`[${name}.`) && !known.has(one))
        await ws.whenStored()
        for (const one of before) known.add(one)
        this.stored.push(...before)
        await sleep(5)
      }
    } catch {
      // The workspace was closed.
    }
  }

  /** Waits until the relay has stored 30 more writes, and then for a random time. */
  async untilBusy(): Promise<void> {
    const before = this.stored.length
    const deadline = performance.now() + 60_000
    while (this.stored.length < before + 30) {
      if (performance.now() > deadline) throw new Error("the relay has stored fewer than 30 writes in a minute")
      await sleep(10)
    }
    await sleep(Math.random() * 1000)
  }

  /**
   * Starts the relay on what is left of its data, first on a port that no replica knows, so that no replica can push a
   * lost change again. All writes in `acknowledged` must be there. Then starts it on its old port.
   */
  async restart(acknowledged: readonly Written[], data = this.#data): Promise<void> {
    this.#data = data
    const alone = await startRelay(data)
    const fresh = await pullAll(alone.url)
    expect(await missing(fresh.ws, acknowledged)).toEqual([])
    await fresh.close()
    expect(await alone.end("SIGTERM")).toEqual({ code: 0, signal: null })
    this.relay = await startRelay(data, { port: this.#port, seconds: 3600 })
  }

  /** Stops the writers. Everything that the replicas saved must then be on all of them and on the relay. */
  async finish(): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.stop()))
    const signal = AbortSignal.timeout(120_000)
    await Promise.all(this.#replicas.map((ws) => ws.whenStored({ signal })))
    const fresh = await pullAll(this.relay.url)
    expect(await missing(fresh.ws, this.saved)).toEqual([])
    const expected = JSON.stringify(view(fresh.ws))
    for (const ws of this.#replicas) {
      for (let tries = 0; tries < 200 && JSON.stringify(view(ws)) !== expected; tries++) await sleep(50)
      expect(view(ws)).toEqual(view(fresh.ws))
      expect(ws.status.pending).toBe(0)
    }
    await fresh.close()
    await this.close()
  }

  /** Kills the relay this many times under load. */
  async kill(times: number): Promise<void> {
    for (let kill = 1; kill <= times; kill++) {
      await this.untilBusy()
      await this.relay.end("SIGKILL")
      await this.restart([...this.stored])
    }
    await this.finish()
    expect(this.stored.length).toBeGreaterThan(times * 30)
    console.log(
      `${times} kills of the relay: ${this.saved.length} saved, ${this.stored.length} said to be stored, 0 lost`,
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.stop()))
    this.#writers = []
    await Promise.all(this.#replicas.splice(0).map((ws) => ws.close()))
  }
}
