/**
 * Change chunks made by hand, byte for byte as Automerge makes them. Each change puts a text under the key "k" of the
 * root.
 */
import { createHash } from "node:crypto"
import { bytesOfHex } from "../../src/base/hash.ts"
import { type Change, readChange } from "../../src/wire/chunk.ts"
import { genesisOf } from "../../src/wire/named-changes.ts"
import type { Hash } from "../../src/wire/protocol.ts"
import { dice } from "./dice.ts"
import { uleb } from "./forged-chunk.ts"

export interface Draft {
  readonly actor: string
  readonly seq?: number
  readonly startOp?: number
  readonly deps?: readonly Hash[]
  /** Bytes need not be a text: relays do not look at values. */
  readonly value?: string | Uint8Array
}

export function change({ actor, seq = 1, startOp = 1, deps = [], value = "hello" }: Draft): Change {
  return readChange(chunkOf({ actor, seq, startOp, deps, value }))
}

/** The genesis of an entity. */
export const genesis = (entity: string, collection = "notes"): Change => genesisOf(entity, collection)

/** A value of this many bytes that is not shorter when it is deflated. */
export function noise(bytes: number): Uint8Array {
  const next = dice(bytes + 1)
  return Uint8Array.from({ length: bytes }, () => 256 * next())
}

export const actorOf = (n: number): string => `5e55${n.toString(16).padStart(28, "0")}`

/** The bytes of the change that `change` makes. They are not parsed, because parsing would hash a large chunk again. */
export function chunkOf({ actor, seq = 1, startOp = 1, deps = [], value = "" }: Draft): Uint8Array {
  const text = typeof value === "string" ? new TextEncoder().encode(value) : value
  const meta = uleb(text.length * 16 + 6)
  const columns = [
    [0x15, [0x7f, 1, 0x6b]],
    [0x34, [1]],
    [0x42, [0x7f, 1]],
    [0x56, [0x7f, ...meta]],
    [0x57, text],
    [0x70, [0x7f, 0]],
  ] as const
  const body = Buffer.concat([
    Buffer.from(uleb(deps.length)),
    ...[...deps].sort().map(bytesOfHex),
    Buffer.from([16]),
    bytesOfHex(actor),
    Buffer.from([...uleb(seq), ...uleb(startOp), 0, 0, 0, columns.length]),
    Buffer.from(columns.flatMap(([spec, bytes]) => [spec, ...uleb(bytes.length)])),
    ...columns.map(([, bytes]) => Buffer.from(bytes)),
  ])
  const sealed = Buffer.concat([Buffer.from([1, ...uleb(body.length)]), body])
  const hash = createHash("sha256").update(sealed).digest()
  return new Uint8Array(Buffer.concat([Buffer.from([0x85, 0x6f, 0x4a, 0x83]), hash.subarray(0, 4), sealed]))
}
