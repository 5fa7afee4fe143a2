/**
 * Makes the derived changes that everybody can make from a name, in plain JavaScript: the genesis from the entity and
 * its collection, and the container of a text from the genesis and the key. The tests compare the bytes with
 * Automerge's. `layout.ts` has the format of a chunk.
 */
import { bytesOfHex } from "../base/hash.ts"
import { deriveChange } from "./chunk.ts"
import { ACTOR, ChunkWriter, Columns, layoutOf, openChunk } from "./layout.ts"
import { Bytes } from "./leb128.ts"
import { BytesWriter } from "./leb128-writer.ts"
import type { Hash } from "./messages.ts"

/** Names of the columns of such a change: id << 4 | type. */
const KEY = 0x15
const INSERT = 0x34
const ACTION = 0x42
const VALUE_META = 0x56
const VALUE = 0x57
const PREDECESSORS = 0x70
/** Begins a run of one value that is given in full: -1 in signed LEB128. */
const ONE = 0x7f
const SET = 1
const MAKE_TEXT = 4
const STRING = 6

const utf8 = new TextEncoder()
const TYPE = utf8.encode("@type")

/** Returns the chunk of the genesis: the change that sets `@type` to the collection. */
export function genesisChunk(entity: string, collection: string): Uint8Array {
  const name = utf8.encode(collection)
  const meta = new BytesWriter(8)
  meta.byte(ONE)
  meta.uleb((name.length << 4) | STRING)
  return oneOperation(entity, [], 1, TYPE, SET, meta.done(), name)
}

/** Returns the chunk that makes the empty text of one key. `genesis`: the hash of the entity's genesis. */
export function textChunk(entity: string, genesis: Hash, key: Uint8Array): Uint8Array {
  return oneOperation(entity, [genesis], 2, key, MAKE_TEXT, Uint8Array.of(ONE, 0), new Uint8Array())
}

/** Makes a derived change of one operation that writes a key of the root. */
function oneOperation(
  entity: string,
  deps: readonly Hash[],
  startOp: number,
  key: Uint8Array,
  action: number,
  valueMeta: Uint8Array,
  value: Uint8Array,
): Uint8Array {
  const keys = new BytesWriter(key.length + 8)
  keys.byte(ONE)
  keys.uleb(key.length)
  keys.bytes(key)
  const columns: [number, Uint8Array][] = [
    [KEY, keys.done()],
    [INSERT, Uint8Array.of(1)],
    [ACTION, Uint8Array.of(ONE, action)],
    [VALUE_META, valueMeta],
    [VALUE, value],
    [PREDECESSORS, Uint8Array.of(ONE, 0)],
  ]
  const present = columns.filter(([, bytes]) => bytes.length > 0)

  const body = new ChunkWriter()
  body.uleb(deps.length)
  for (const dep of deps) body.bytes(bytesOfHex(dep))
  body.uleb(ACTOR)
  body.bytes(new Uint8Array(ACTOR))
  for (const number of [1, startOp, 0, 0, 0]) body.uleb(number) // seq, startOp, time, message, other actors
  body.uleb(present.length)
  for (const [name, bytes] of present) {
    body.uleb(name)
    body.uleb(bytes.length)
  }
  for (const [, bytes] of present) body.bytes(bytes)
  return deriveChange(entity, body.chunk())
}

/** Returns the key that a change of one operation may write: call it for a change that could be a text's container. */
export function textKey(chunk: Uint8Array): Uint8Array | undefined {
  const layout = layoutOf(openChunk(chunk))
  const columns = new Columns(layout)
  if (!columns.next() || columns.name !== KEY) return undefined
  const column = new Bytes(chunk, columns.from, columns.to)
  if (column.sleb() !== -1) return undefined
  const key = column.slice(column.uleb())
  return column.done ? key : undefined
}
