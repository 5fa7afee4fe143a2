/**
 * A process that appends to a log until it is killed, started as `log-under-load <folder> <name of this process>`. When
 * the log says that an entry is flushed, it prints the entry's name and cursor.
 */
import { openLogs } from "../../relay/log/logs.ts"
import { sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { nodeDisk } from "../../relay/machine/disk.node.ts"

const [folder = "", life = ""] = process.argv.slice(2)
// Segments this small are sealed many times a second.
const sizes = { segmentEntries: 300 }
const logs = await openLogs({ folder, disk: nodeDisk, clock: nodeClock, report: console.error, sizes })
const log = await logs.open("w")

async function write(entity: string): Promise<void> {
  for (let n = 0; ; n++) {
    const name = `${entity}-${n}`
    const deps = (await log.entity(entity))?.heads ?? []
    const { entry, changes } = sample(name, { entity, actor: entity, seq: n + 1, deps, size: 200, binds: true })
    const place = await log.flushed(log.append(entry, changes))
    process.stdout.write(`${name} ${Buffer.from(place).toString("hex")}\n`)
  }
}

await Promise.all(Array.from({ length: 20 }, (_, i) => write(`${life}-${i}`)))
