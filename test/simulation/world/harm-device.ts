/**
 * A device's disk damages a record while its program is down. A change may be lost by that if no other disk holds it.
 * Damage to a record of another kind must cost nothing, because the record can be made again from the changes.
 */
import type { Value } from "../../../src/store/store.ts"
import { open } from "./mishaps.ts"
import type { Replica } from "./replica.ts"
import type { World } from "./world.ts"

/** The first bytes of a chunk. `SHORTEST_CHUNK`: the smallest number of bytes that a chunk has. */
const MAGIC = Buffer.from([0x85, 0x6f, 0x4a, 0x83])
const SHORTEST_CHUNK = 34

const COUNTED_AS = {
  row: "device rows harmed",
  page: "device row pages harmed",
  out: "outbox records harmed",
  outpage: "outbox pages harmed",
  change: "device changes harmed",
} as const
/**
 * The kinds of records to damage. Few runs have pages, and loose outbox records are there for a short time only, so
 * these kinds are drawn more often where they are.
 */
const KINDS = [
  ...(["row", "out", "out", "change"] as const),
  ...(["outpage", "outpage", "outpage", "page", "page", "page", "page", "page", "page"] as const),
] as const

/**
 * Damages one byte of one record. The kind is drawn first, because otherwise nearly every damaged record would be a
 * change.
 */
export async function harmDevice(world: World, replica: Replica): Promise<boolean> {
  const { device } = replica
  const { trouble } = world
  let harmed = false
  await world.loseDisks(async () => {
    replica.crash(false)
    const kinds = KINDS.filter((kind) => device.ours.some(([key]) => key[1] === kind))
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
 * The value with one character or byte replaced so that the damage can be noticed: a JSON text has a checksum, and a
 * chunk with another byte has another hash. The words beside a chunk (such as the name of a collection) have neither.
 */
function damaged(value: Value, x: number): Value {
  if (typeof value === "string") {
    const at = x % value.length
    return `${value.slice(0, at)}${value[at] === "1" ? "2" : "1"}${value.slice(at + 1)}`
  }
  const bytes = value.slice()
  const chunkAt = Buffer.from(bytes).indexOf(MAGIC)
  const at = chunkAt + (x % SHORTEST_CHUNK)
  bytes[at]! ^= 1 + (x % 255)
  return bytes
}
