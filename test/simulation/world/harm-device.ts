/**
 * A device's disk damages a record while its program is down. What a record is made from says what may be lost with it: of a
 * change, what no other disk holds; of everything else, nothing.
 */
import type { Value } from "../../../src/store/store.ts"
import { notDamaged } from "../known-faults.ts"
import { open } from "./mishaps.ts"
import type { Replica } from "./replica.ts"
import type { World } from "./world.ts"

const COUNTED_AS = {
  row: "device rows harmed",
  page: "device row pages harmed",
  out: "outbox records harmed",
  outpage: "outbox pages harmed",
  change: "device changes harmed",
} as const
const KINDS = ["row", "page", "out", "outpage", "change"] as const

/** One byte of one record, of a kind that is drawn first: else it would be a change, nearly always. */
export async function harmDevice(world: World, replica: Replica): Promise<boolean> {
  const { device } = replica
  const { trouble } = world
  let harmed = false
  await world.loseDisks(async () => {
    replica.crash(false)
    const drawn = KINDS.filter((kind) => world.everyRecord || !notDamaged.has(kind))
    const kinds = drawn.filter((kind) => device.ours.some(([key]) => key[1] === kind))
    if (kinds.length === 0) return
    const kind = trouble.pick(kinds)
    const [key, value] = trouble.pick(device.ours.filter(([key]) => key[1] === kind))
    world.scheduler.note(`${replica.name} harmed ${key.join("/")}`)
    device.harm(key, damaged(value, trouble.below(1000)))
    world.oracle.devices.reload(device)
    world.seen[COUNTED_AS[kind]]++
    harmed = true
  })
  open(world, replica)
  return harmed
}

/**
 * A record of text without its first character is never readable. One that is damaged inside a word would be, and nobody
 * could tell: that is left to the disk's own checksums.
 */
function damaged(value: Value, x: number): Value {
  if (typeof value === "string") return `#${value.slice(1)}`
  const bytes = value.slice()
  // The chunk stands at the end, after some bytes that say whose it is.
  const at = bytes.length - 1 - (x % Math.min(40, bytes.length))
  bytes[at]! ^= 1 + (x % 255)
  return bytes
}
