/**
 * A device's disk damages a record while its program is down. The damage may lose a change of which no other disk has a
 * copy. Damage to a record of another kind must lose nothing, because the record can be made again from the changes.
 */
import type { Key, Value } from "../../../src/store/store.ts"
import { decodeEntry, type Entry } from "../../../src/wire/protocol.ts"
import { encodeChunks } from "../../../src/wire/short-chunks.ts"
import { changesIn } from "../oracle/changes-on-disk.ts"
import { open } from "./mishaps.ts"
import type { Replica } from "./replica.ts"
import type { World } from "./world.ts"

const COUNTED_AS = {
  row: "device rows harmed",
  page: "device row pages harmed",
  out: "outbox records harmed",
  outpage: "outbox pages harmed",
  change: "device changes harmed",
  history: "device histories harmed",
} as const
/**
 * The kinds of records to damage. Few runs have pages, and loose outbox records are there for a short time only, so
 * these kinds are drawn more often where they are.
 */
const KINDS = [
  ...(["row", "out", "out", "change", "history", "history"] as const),
  ...(["outpage", "outpage", "outpage"] as const),
  ...(["page", "page", "page", "page", "page", "page", "page", "page", "page", "page"] as const),
] as const

/**
 * Damages one byte of one record. The kind is drawn first, because otherwise nearly every damaged record would be a
 * change.
 */
export async function harmDevice(world: World, replica: Replica): Promise<boolean> {
  const { device } = replica
  const { trouble } = world
  let done = false
  await world.loseDisks(async () => {
    replica.crash(false)
    const kinds = KINDS.filter((kind) => device.ours.some(([key]) => key[1] === kind))
    if (kinds.length === 0) return
    const kind = trouble.pick(kinds)
    const [key, value] = trouble.pick(device.ours.filter(([key]) => key[1] === kind))
    world.scheduler.note(`${replica.name} harmed ${key.join("/")}`)
    const harmed = damaged(key, value, trouble.below(1000))
    device.harm(key, harmed, kind === "history" ? lostBy(key, value, harmed) : [])
    world.oracle.devices.reload(device)
    world.seen[COUNTED_AS[kind]]++
    done = true
  })
  open(world, replica)
  return done
}

/** The hashes of the changes that a page of a history had before it was damaged, and has no more. */
function lostBy(key: Key, before: Value, after: Value): string[] {
  const left = new Set(changesIn(key, after).map(({ hash }) => hash))
  return changesIn(key, before).flatMap(({ hash }) => (left.has(hash) ? [] : [hash]))
}

/**
 * Returns the value with one character or byte replaced, so that a reader can notice the damage. A JSON text has a
 * checksum, and so has each block of a history page. A record of a change has a check of its chunks, and none of its
 * other fields (such as the collection's name), so only a byte of the chunks is replaced. A record of a change that is
 * damaged already stays as it is, because a second fault could mend the first one.
 */
function damaged([, kind]: Key, value: Value, x: number): Value {
  if (typeof value === "string") {
    const at = x % value.length
    return `${value.slice(0, at)}${value[at] === "1" ? "2" : "1"}${value.slice(at + 1)}`
  }
  if (kind === "history") {
    const page = value.slice()
    page[x % page.length]! ^= 1 + (x % 255)
    return page
  }
  const entry = readable(value)
  if (entry === undefined) return value
  const bytes = value.slice()
  const block = encodeChunks(entry, entry.chunks, "whole")
  bytes[Buffer.from(bytes).indexOf(block) + (x % block.length)]! ^= 1 + (x % 255)
  return bytes
}

function readable(value: Uint8Array): Entry | undefined {
  try {
    return decodeEntry(value)
  } catch {
    return undefined
  }
}
