import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Log, Logs } from "../../relay/log/contract.ts"
import { openLogs } from "../../relay/log/logs.ts"
import { actorOf, sample } from "../../relay/log/samples.ts"
import { nodeDisk } from "../../relay/machine/disk.node.ts"
import type { Disk, DiskFile } from "../../relay/machine/disk.ts"
import { systemClock } from "../../src/base/env.ts"
import { position } from "../../src/wire/protocol.ts"

const long = process.env["HEADWATER_LONG"] === "1"
/** Entries of the log, and of each of its segments. A short run has a tenth of both. */
const ENTRIES = long ? 200_500 : 20_500
const SEGMENT = long ? 20_000 : 2_000
const CACHE = 2 ** 20
const ENTITIES = 500

const base = mkdtempSync(path.join(tmpdir(), "log-large-"))
afterAll(() => rmSync(base, { recursive: true }))

/** Bytes read from the disk: from segment files and from index files. */
const read = { log: 0, idx: 0 }
const counting: Disk = {
  ...nodeDisk,
  open: async (file) => counted(file, await nodeDisk.open(file)),
  read: async (file) => counted(file, await nodeDisk.read(file)),
}

function counted(file: string, opened: DiskFile): DiskFile {
  return {
    size: () => opened.size(),
    async read(at, length, into) {
      const bytes = await opened.read(at, length, into)
      read[file.endsWith(".idx") ? "idx" : "log"] += bytes.length
      return bytes
    },
    write: (at, bytes) => opened.write(at, bytes),
    truncate: (size) => opened.truncate(size),
    sync: () => opened.sync(),
    close: () => opened.close(),
  }
}

const openAt = (folder: string): Promise<Logs> =>
  openLogs({
    folder,
    disk: counting,
    clock: systemClock,
    report: () => {},
    sizes: { segmentEntries: SEGMENT, blockBytes: CACHE },
  })

const entity = (n: number) => `e${n % ENTITIES}`
const nth = (n: number) => {
  const deps = n >= ENTITIES ? sample(`n${n - ENTITIES}`).changes.map(({ hash }) => hash) : []
  return sample(`n${n}`, { entity: entity(n), actor: entity(n), seq: Math.floor(n / ENTITIES) + 1, deps, binds: true })
}

/**
 * Fills a log, and opens it again after each segment. Opening seals a full segment before it resolves, so the sizes of
 * the segments do not depend on the speed of the machine.
 */
async function fill(folder: string, entries: number): Promise<void> {
  for (let from = 0; from < entries; from += SEGMENT) {
    const logs = await openAt(folder)
    const log = await logs.open("w")
    for (let n = from; n < Math.min(entries, from + SEGMENT); n++) {
      const { entry, changes } = nth(n)
      const at = log.append(entry, changes)
      if (n % 500 === 499) await log.flushed(at)
    }
    await log.flushed(log.appended)
    await logs.close()
  }
}

function sizes(folder: string, ending: string): number[] {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(ending))
  return files.sort().map((name) => statSync(path.join(folder, name)).size)
}

/** Bytes in use after everything that can be freed was freed. */
function used(): number {
  setFlagsFromString("--expose-gc")
  const collect = runInNewContext("gc") as () => void
  collect()
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

async function readAll(log: Log): Promise<number> {
  let count = 0
  for (let at = 0; ; ) {
    const page = await log.since(at, 2 ** 20)
    if (page.entries.length === 0) return count
    count += page.entries.length
    at = position(page.cursor)
  }
}

async function lookUp(log: Log, entries: number, step: number): Promise<void> {
  for (let n = 0; n < entries; n += step) {
    const { changes } = nth(n)
    const [change] = changes
    expect(await log.known(entity(n), change!.hash)).toMatchObject({ seq: change!.seq, position: n + 1 })
    const last = nth(n + ENTITIES * Math.floor((entries - 1 - n) / ENTITIES)).changes[0]!
    expect(await log.tail(entity(n), change!.actor)).toMatchObject({ hash: last.hash })
    expect(await log.entity(entity(n))).toEqual({ collection: "notes", heads: [last.hash] })
    expect(await log.binding(change!.actor)).toBe("alice")
    expect(await log.known(entity(n + 1), change!.hash)).toBeUndefined()
    expect(await log.tail(entity(n), actorOf("nobody"))).toBeUndefined()
  }
}

describe(`a log of ${ENTRIES} entries`, () => {
  const large = path.join(base, "large")
  const small = path.join(base, "small")

  beforeAll(async () => {
    await fill(large, ENTRIES)
    await fill(small, SEGMENT + (ENTRIES % SEGMENT))
  }, 600_000)

  it("is opened by scanning its last segment alone", async () => {
    const segments = sizes(large, ".log")
    expect(segments.length).toBe(Math.ceil(ENTRIES / SEGMENT))
    const before = { ...read }
    const logs = await openAt(large)
    const log = await logs.open("w")
    expect(position(log.end)).toBe(ENTRIES)
    // Opening also reads the headers of at most three other segments, and one block of each index.
    expect(read.log - before.log).toBeLessThan(segments.at(-1)! * 1.3 + 3 * 5000)
    expect(read.log - before.log).toBeLessThan(segments.reduce((a, b) => a + b) / 5)
    expect(read.idx - before.idx).toBe((segments.length - 1) * 4096)
    await logs.close()
  })

  it("answers look-ups from its indexes, and serves everything in order", async () => {
    const logs = await openAt(large)
    const log = await logs.open("w")
    await lookUp(log, ENTRIES, Math.ceil(ENTRIES / 400))
    expect(await readAll(log)).toBe(ENTRIES)
    for (const at of [1, SEGMENT, SEGMENT + 1, ENTRIES / 2, ENTRIES]) {
      const { cursor } = await log.since(Math.floor(at) - 1, 1)
      expect(position(cursor)).toBe(Math.floor(at))
      expect(await log.holds(cursor)).toBe(true)
    }
    await logs.close()
  })

  it("takes no more memory than a small one", async () => {
    const grown: number[] = []
    const few = [small, SEGMENT + (ENTRIES % SEGMENT)] as const
    // The first round is not compared, because its memory includes things made once per process, such as compiled code.
    for (const [folder, entries] of [few, few, [large, ENTRIES] as const]) {
      const before = used()
      const logs = await openAt(folder)
      const log = await logs.open("w")
      await lookUp(log, entries, Math.ceil(entries / 400))
      await readAll(log)
      grown.push(used() - before)
      await logs.close()
    }
    expect(grown[2]! - grown[1]!).toBeLessThan(CACHE + 200 * (ENTRIES / SEGMENT))
  })

  it("makes an index that is gone again, by scanning only that segment", async () => {
    const [workspace] = readdirSync(large)
    rmSync(path.join(large, workspace!, "00000002.idx"))
    const [, second = 0, ...rest] = sizes(large, ".log")
    const before = { ...read }
    const logs = await openAt(large)
    const log = await logs.open("w")
    expect(read.log - before.log).toBeLessThan((second + rest.at(-1)!) * 1.3 + 3 * 5000)
    await lookUp(log, ENTRIES, Math.ceil(ENTRIES / 100))
    await logs.close()
  })
})
