/**
 * A device's disk damages a record while its program is down. What a record is made from says what may be lost with it: of a
 * change, what no other disk holds; of everything else, nothing.
 */
import type { Value } from "../../../src/store/store.ts"
import { decodeEntry } from "../../../src/wire/protocol.ts"
import { encodeChunks } from "../../../src/wire/short-chunks.ts"
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
/** Pages are there in few runs, so they are drawn more often where they are. */
const KINDS = [
  ...(["row", "out", "change"] as const),
  ...(["outpage", "outpage", "outpage", "page", "page", "page", "page", "page", "page"] as const),
] as const

/** One byte of one record, of a kind that is drawn first: else it would be a change, nearly always. */
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
 * A record of text without its first character is never readable, and neither is a change of which one byte of the short
 * form is another. A record that is damaged inside a word (the name of a collection) would be readable, and nobody could tell:
 * that is left to the disk's own checksums.
 */
function damaged(value: Value, x: number): Value {
  if (typeof value === "string") return `#${value.slice(1)}`
  const bytes = value.slice()
  const entry = decodeEntry(value)
  const block = encodeChunks(entry, entry.chunks, "named")
  bytes[Buffer.from(bytes).indexOf(block) + (x % block.length)]! ^= 1 + (x % 255)
  return bytes
}
