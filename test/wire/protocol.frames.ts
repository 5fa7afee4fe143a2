/** Functions on frames for the tests of the protocol. */
import * as cborg from "cborg"
import { HeadwaterError } from "../../src/base/errors.ts"
import { decodeClient, decodeRelay, type Entry } from "../../src/wire/protocol.ts"
import { uleb } from "../support/forged-chunk.ts"
import { clientShapes } from "./protocol.shapes.ts"

/** Whether this is a long run. */
export const long = process.env["HEADWATER_LONG"] === "1"
export const runs = long ? 2_000 : 100

/** The outcome of a call: "accepted", "null", or the code of its error. */
export function outcome(f: () => unknown): string {
  try {
    return f() === null ? "null" : "accepted"
  } catch (error) {
    if (error instanceof HeadwaterError) return error.code
    throw error
  }
}

/** Processor time of the fastest of three runs, ms, so that other work of the machine is not measured. */
export function quickest(f: () => unknown): number {
  const times = [1, 2, 3].map(() => {
    const start = process.cpuUsage()
    f()
    const { user, system } = process.cpuUsage(start)
    return (user + system) / 1000
  })
  return Math.min(...times)
}

export const decodeEither = (frame: Uint8Array, like: { t: string }) =>
  like.t in clientShapes && !("grants" in like) ? decodeClient(frame) : decodeRelay(frame)

/** The frame as cborg alone would encode it: with sorted keys and the shortest forms. */
export const canonical = (frame: Uint8Array) =>
  new Uint8Array(cborg.encode(cborg.decode(frame), cborg.rfc8949EncodeOptions))

export const ascii = (text: string) => Buffer.from(text, "latin1").toString("hex")

/** Converts a message into plain data for cborg without any check, for messages that `encode` refuses. */
export function asPlain(value: unknown): unknown {
  if (typeof value === "string" && /^([0-9a-f]{32}){1,2}$/.test(value))
    return Uint8Array.from(Buffer.from(value, "hex"))
  if (Array.isArray(value)) return value.map(asPlain)
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value
  if ("own" in value) return Object.values(value)
  if ("chunks" in value) return plainEntry(value as Entry)
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, asPlain(one)]))
}

/** An entry as it is on the wire, unchecked. Its block has each chunk as it is, and is not deflated. */
function plainEntry({ entity, collection, kind, chunks, ...rest }: Entry): unknown {
  const size = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  const check = [0, 1, 2, 3].map((i) => chunks.reduce((sum, chunk) => sum ^ chunk[4 + i]!, 0))
  const elements = chunks.map((chunk) => [Buffer.from([10, ...uleb(chunk.length)]), chunk])
  const block = Buffer.concat([
    Buffer.from([...uleb(2 * size), ...uleb(chunks.length)]),
    ...elements.flat(),
    Buffer.from(check),
  ])
  return asPlain({
    ...rest,
    e: entity,
    c: collection,
    ...(chunks.length > 0 && { s: new Uint8Array(block) }),
    ...(kind !== "change" && { kind }),
  })
}

export function everyMap(value: unknown, f: (map: Record<string, unknown>) => unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => everyMap(one, f))
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value
  return f(Object.fromEntries(Object.entries(value).map(([key, one]) => [key, everyMap(one, f)])))
}

type Path = readonly (string | number)[]

export function paths(value: unknown, path: Path = []): Path[] {
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return [path]
  const inside = Array.isArray(value) ? [...value.entries()] : Object.entries(value)
  return [path, ...inside.flatMap(([key, one]) => paths(one, [...path, key]))]
}

export function replaced(value: unknown, [key, ...rest]: Path, by: unknown): unknown {
  if (key === undefined) return by
  const copy: Record<string | number, unknown> = Array.isArray(value) ? ([...value] as never) : { ...(value as object) }
  copy[key] = replaced(copy[key], rest, by)
  return copy
}
