/** Change chunks put together byte by byte, in forms that Automerge does not write. */
import { createHash } from "node:crypto"
import { bytesOfHex } from "../../src/base/hash.ts"

/** The parts of a change chunk as bytes, well formed or not. A part that is left out is as small as possible. */
export interface Forgery {
  readonly deps?: readonly string[]
  readonly actor?: readonly number[]
  readonly seq?: readonly number[]
  readonly startOp?: readonly number[]
  readonly time?: readonly number[]
  readonly message?: string | readonly number[]
  readonly others?: readonly (readonly number[])[]
  readonly columns?: readonly (readonly [number, readonly number[]])[]
  readonly table?: readonly number[]
  readonly extra?: readonly number[]
}

/** A change chunk put together by hand, with a valid checksum. */
export function forge(parts: Forgery): Uint8Array {
  const { deps = [], others = [], columns = [] } = parts
  const author = parts.actor ?? Array(16).fill(0)
  const message = typeof parts.message === "string" ? [...Buffer.from(parts.message)] : (parts.message ?? [])
  const table = [...uleb(columns.length), ...columns.flatMap(([spec, data]) => [...uleb(spec), ...uleb(data.length)])]
  const body = [
    ...uleb(deps.length),
    ...deps.flatMap((dep) => [...bytesOfHex(dep)]),
    ...uleb(author.length),
    ...author,
    ...(parts.seq ?? [1]),
    ...(parts.startOp ?? [1]),
    ...(parts.time ?? [0]),
    ...uleb(message.length),
    ...message,
    ...uleb(others.length),
    ...others.flatMap((other) => [...uleb(other.length), ...other]),
    ...(parts.table ?? table),
    ...columns.flatMap(([, data]) => data),
    ...(parts.extra ?? []),
  ]
  return seal([1, ...uleb(body.length), ...body])
}

/** Puts the magic bytes and a checksum before a type, a length and a body. */
export function seal(sealed: readonly number[]): Uint8Array {
  const checksum = createHash("sha256").update(Uint8Array.from(sealed)).digest().subarray(0, 4)
  return Uint8Array.from([0x85, 0x6f, 0x4a, 0x83, ...checksum, ...sealed])
}

export const reseal = (chunk: Uint8Array) => seal([...chunk.subarray(8)])

export function bodyOf(chunk: Uint8Array): Uint8Array {
  let at = 9
  while (chunk[at]! & 0x80) at++
  return chunk.subarray(at + 1)
}

/** A number as LEB128. `overlong`: with one byte more than it needs. */
export function uleb(value: number, overlong = false): number[] {
  const bytes: number[] = []
  do {
    bytes.push((value % 128) | 0x80)
    value = Math.floor(value / 128)
  } while (value > 0)
  if (overlong) return [...bytes, 0]
  return [...bytes.slice(0, -1), bytes.at(-1)! & 0x7f]
}

export function sleb(value: number): number[] {
  const bytes: number[] = []
  let rest = BigInt(value)
  for (;;) {
    const byte = Number(rest & 0x7fn)
    rest >>= 7n
    if (rest === (byte & 0x40 ? -1n : 0n)) return [...bytes, byte]
    bytes.push(byte | 0x80)
  }
}
