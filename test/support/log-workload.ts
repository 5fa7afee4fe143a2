/** Work that tests do on logs with tiny sizes, and a journal that checks the content of these logs afterwards. */
import { expect } from "vitest"
import type { Log, Logs } from "../../relay/log/contract.ts"
import { type LogSizes, usualLogSizes } from "../../relay/log/log-sizes.ts"
import { type LogsOptions, openLogs } from "../../relay/log/logs.ts"
import { pages, type Sample, sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { type Cursor, position } from "../../src/wire/protocol.ts"
import type { SimDisk } from "./disk.ts"

export const FOLDER = "/data"

/** Sizes so small that a short history has several segments, sealed and open, and that little is kept in memory. */
export const smallSizes: LogSizes = {
  ...usualLogSizes,
  segmentEntries: 4,
  logs: 1,
  blockBytes: 64 * 1024,
  offsets: 3,
  groupBytes: 64,
  spareGroupBytes: 512,
  sealAgain: 2,
  recentEntities: 2,
  recentActors: 2,
  longChain: 2,
}

/** The smallest sizes: a read takes one record, a slice of work is one step, and next to nothing is kept in memory. */
export const tinySizes: LogSizes = {
  ...smallSizes,
  segmentChanges: 7,
  segmentStateBytes: 700,
  idleBytes: 0,
  openFiles: 1,
  blockBytes: 0,
  bufferBytes: 1,
  buffers: 1,
  scanBytes: 1,
  preambleBytes: 44,
  offsets: 1,
  groupBytes: 1,
  spareGroupBytes: 1,
  sealAgain: 1,
  sealSlice: 1,
  orphans: 1024,
  lookUpSlice: 1,
  recentEntities: 1,
  recentStateBytes: 1,
  recentActors: 1,
  longChain: 1,
}

export const openSmall = ({ disk }: Pick<SimDisk, "disk">, report: LogsOptions["report"] = () => {}): Promise<Logs> =>
  openLogs({ folder: FOLDER, disk, clock: nodeClock, report, sizes: smallSizes })

/** The entries that were appended to a log, and the cursors that the log gave for them once they were flushed. */
export class Journal {
  readonly appended = new Map<string, Sample>()
  readonly acked = new Map<string, Cursor>()
  failures = 0
  #names = 0

  /** Appends a change that depends on the entity's heads. Adds it to `acked` when the log says that it is flushed. */
  async append(log: Log, entity: string): Promise<void> {
    const heads = (await log.entity(entity))?.heads ?? []
    const name = `${entity} ${this.#names++}`
    const actor = `actor of ${name}`
    const one = sample(name, { entity, deps: [...heads].sort(), actor, binds: true, by: actor, size: 100 })
    this.appended.set(name, one)
    const at = await log.flushed(log.append(one.entry, one.changes))
    this.acked.set(name, at)
  }

  /**
   * Checks that every acked entry is served, known and in its place, that every served entry was appended, and that all
   * changes it depends on are served before it.
   */
  async check(log: Log): Promise<void> {
    const names = new Map([...this.appended].map(([name, { changes }]) => [changes[0]!.hash, name]))
    const byChunk = new Map([...this.appended].map(([name, { entry }]) => [entry.chunks.join(), name]))
    const served = new Set<string>()
    for (const { entries, cursor } of await pages(log, 0, 700)) {
      expect(await log.holds(cursor)).toBe(true)
      for (const { entry, position: at } of entries) {
        const name = byChunk.get(entry.chunks.join())!
        expect(name, "nothing is there that was not appended").toBeDefined()
        expect(served.has(name), "nothing is there twice").toBe(false)
        served.add(name)
        const [change] = this.appended.get(name)!.changes
        const known = await log.known(entry.entity, change!.hash)
        expect(known).toMatchObject({ actor: change!.actor, seq: change!.seq, deps: change!.deps, position: at })
        expect(await log.binding(change!.actor)).toBe(entry.by)
        expect(await log.tail(entry.entity, change!.actor)).toMatchObject({ hash: change!.hash })
        for (const dep of change!.deps) expect(served.has(names.get(dep)!)).toBe(true)
      }
    }
    for (const [name, cursor] of this.acked) {
      expect(served.has(name), `${name} was acked and is gone`).toBe(true)
      expect(await log.holds(cursor), `the cursor of ${name}`).toBe(true)
    }
    for (const [name, { entry, changes }] of this.appended) {
      if (served.has(name)) continue
      expect(await log.known(entry.entity, changes[0]!.hash), "what is lost is not known").toBeUndefined()
      expect((await log.entity(entry.entity))?.heads ?? []).not.toContain(changes[0]!.hash)
    }
  }
}

/**
 * Opens, appends, reads, checks and closes in two workspaces, with one log open at a time. Repeats each call that fails
 * with LOG_FAILED.
 */
export async function work(disk: SimDisk, journals: readonly [Journal, Journal]): Promise<void> {
  for (let round = 0; round < 2; round++) {
    const logs = await retried(journals[0], () => openSmall(disk))
    for (const [i, journal] of journals.entries()) {
      const log = await retried(journal, () => logs.open(`workspace ${i}`))
      for (let step = 0; step < 3 - i; step++) {
        const together = ["a", `new-${round}-${step}`].map((entity) =>
          retried(journal, () => journal.append(log, entity)),
        )
        await Promise.all(together)
        await retried(journal, () => log.since(position(log.end) - 2, 500))
      }
      await retried(journal, () => journal.check(log))
      await log.close()
    }
    await logs.close()
  }
}

async function retried<T>(journal: Journal, attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if ((error as { code?: string }).code !== "LOG_FAILED") throw error
      journal.failures++
    }
  }
}
