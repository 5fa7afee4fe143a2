/**
 * Makes the derived changes that everybody can make from a name, in plain JavaScript: the genesis from the entity and
 * its collection, and the container of a text from the genesis and the key. The tests compare the bytes with
 * Automerge's. `layout.ts` has the format of a chunk.
 */
import { deriveChange } from "./chunk.ts"
import { ACTOR, ChunkWriter, Columns, HASH, layoutOf, openChunk } from "./layout.ts"
import { Bytes } from "./leb128.ts"
import { BytesWriter } from "./leb128-writer.ts"

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
  const template = templateOf(`genesis ${collection}`, () => {
    const name = utf8.encode(collection)
    const meta = new BytesWriter(8)
    meta.byte(ONE)
    meta.uleb((name.length << 4) | STRING)
    return oneOperation(0, 1, TYPE, SET, meta.done(), name)
  })
  return deriveChange(entity, template)
}

/** Returns the chunk that makes the empty text of one key. `genesis`: the hash of the entity's genesis. */
export function textChunk(entity: string, genesis: Uint8Array, key: Uint8Array): Uint8Array {
  const make = () => oneOperation(1, 2, key, MAKE_TEXT, Uint8Array.of(ONE, 0), new Uint8Array())
  const template = (key.length > LONGEST_KEPT ? make() : templateOf(`text ${latin1(key)}`, make)).slice()
  template.set(genesis, layoutOf(openChunk(template)).depsAt)
  return deriveChange(entity, template)
}

/** The chunks without their dep and actor, by what they make. The oldest is forgotten first. */
const templates = new Map<string, Uint8Array>()
const KEPT = 256
/** Longer keys, in bytes, have no kept template. */
const LONGEST_KEPT = 64
const latin1 = (bytes: Uint8Array) => String.fromCharCode(...bytes)

function templateOf(name: string, make: () => Uint8Array): Uint8Array {
  let template = templates.get(name)
  if (template !== undefined) return template
  template = make()
  const [oldest] = templates.keys()
  if (templates.size === KEPT && oldest !== undefined) templates.delete(oldest)
  templates.set(name, template)
  return template
}

/** Makes a change of one operation that writes a key of the root. Its deps and its actor are zeros. */
function oneOperation(
  deps: number,
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
  body.uleb(deps)
  body.bytes(new Uint8Array(HASH * deps))
  body.uleb(ACTOR)
  body.bytes(new Uint8Array(ACTOR))
  for (const number of [1, startOp, 0, 0, 0]) body.uleb(number) // seq, startOp, time, message, other actors
  body.uleb(present.length)
  for (const [name, bytes] of present) {
    body.uleb(name)
    body.uleb(bytes.length)
  }
  for (const [, bytes] of present) body.bytes(bytes)
  return body.chunk()
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
