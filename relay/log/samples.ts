/** Makes entries for tests of a log, and reads all that a log serves. */
import { hash as digest } from "node:crypto"
import { type Entry, position } from "../../src/wire/protocol.ts"
import type { AppendedChange, Log, Page } from "./contract.ts"

/** The arguments of one `append`. */
export interface Sample {
  readonly entry: Entry
  readonly changes: readonly AppendedChange[]
}

export interface SampleOptions {
  readonly entity?: string
  readonly collection?: string
  /** A name. `actorOf` makes an actor from it. */
  readonly actor?: string
  readonly by?: string
  readonly binds?: boolean
  readonly deps?: readonly string[]
  readonly seq?: number
  /** Bytes of the chunk after its first 34 bytes, which hold the change's name. */
  readonly size?: number
}

export const actorOf = (name: string): string => digest("sha256", name, "hex").slice(0, 32)

/**
 * Returns an entry with one change. The change's hash is the hash of `name`. A log does not read chunks, so the chunk
 * may have any bytes.
 */
export function sample(name: string, options: SampleOptions = {}): Sample {
  const { entity = "note", collection = "notes", actor = "alice", by = "alice", binds, size = 40 } = options
  const { deps = [], seq = 1 } = options
  const chunk = noise(name, 34 + size)
  chunk.set(new TextEncoder().encode(name.padEnd(34, "\0")).subarray(0, 34))
  const change = {
    hash: digest("sha256", name, "hex"),
    actor: actorOf(actor),
    seq,
    startOp: seq * 10,
    maxOp: seq * 10 + 4,
    deps,
    ...(binds && { binds: true as const }),
  }
  return { entry: { entity, collection, kind: "change", chunks: [chunk], by }, changes: [change] }
}

/** Returns bytes that are the same for the same name, and that deflating does not shorten. */
function noise(name: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at += 32) {
    bytes.set(digest("sha256", `${name} ${at}`, "buffer").subarray(0, length - at), at)
  }
  return bytes
}

/** Returns all pages after a position, read `bytes` bytes at a time. */
export async function pages(log: Log, from: number, bytes: number): Promise<Page[]> {
  const read: Page[] = []
  for (let at = from; ; at = position(read.at(-1)!.cursor)) {
    const page = await log.since(at, bytes)
    if (page.entries.length === 0) return read
    read.push(page)
  }
}
