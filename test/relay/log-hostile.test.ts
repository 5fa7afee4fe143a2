import { hash } from "node:crypto"
import { expect, it } from "vitest"
import { openLogs } from "../../relay/log/logs.ts"
import { sample } from "../../relay/log/samples.ts"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { dice } from "../support/dice.ts"
import { simDisk } from "../support/disk.ts"

const ENTRIES = 1500

/** Exclusive or with the entity's sha256, as anybody can work it out, all of these are the same. */
function actorFor(entity: string): string {
  const ofEntity = Buffer.from(hash("sha256", entity, "hex"), "hex")
  return Buffer.from(ofEntity.subarray(0, 16).map((byte, i) => byte ^ i)).toString("hex")
}

it("look-ups of a sealed segment read little of it, whatever actors were chosen to make them read much", async () => {
  const sim = simDisk({ random: dice(1) })
  const open = () =>
    openLogs({
      folder: "/data",
      disk: sim.disk,
      clock: nodeClock,
      report() {},
      sizes: { segmentEntries: ENTRIES, blockBytes: 0 },
    })
  const logs = await open()
  const log = await logs.open("w")
  const hashes: string[] = []
  for (let i = 0; i <= ENTRIES; i++) {
    const entity = `e${i}`
    const { entry, changes } = sample(entity, { entity })
    const [change] = changes
    hashes.push(change!.hash)
    log.append(entry, [{ ...change!, actor: actorFor(entity) }])
  }
  await log.flushed(log.appended)
  await logs.close()

  const again = await open()
  const reopened = await again.open("w")
  for (let i = 7; i < ENTRIES; i += 300) {
    const before = sim.bytesRead
    expect(await reopened.tail(`e${i}`, actorFor(`e${i}`))).toMatchObject({ hash: hashes[i] })
    expect(await reopened.tail(`e${i}`, actorFor("another"))).toBeUndefined()
    expect(sim.bytesRead - before).toBeLessThan(16 * 4096)
  }
  await again.close()
})
