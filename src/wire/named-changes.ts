/**
 * Makes the named changes in plain JavaScript. A named change is a derived change that every replica and relay can make
 * from names alone:
 *
 * - the genesis of an entity, from the entity's id and the name of its collection,
 * - the container of a text, from these two and the key of the text.
 *
 * A template is encoded once. To make a named change, a few bytes of a copy of the template are replaced, because
 * neither the operations nor their order depend on the entity. The tests compare the bytes with Automerge's.
 * `layout.ts` has the format of a chunk.
 */
import { type Change, deriveFrom, isDerived, type Template, templateOf } from "./chunk.ts"
import { ACTOR, ChunkWriter, Columns, HASH, layoutOf, openChunk } from "./layout.ts"
import { Bytes } from "./leb128.ts"
import { BytesWriter } from "./leb128-writer.ts"
import { noteMade } from "./made-changes.ts"

/** Names of the columns of a named change: id << 4 | type. */
const KEY = 0x15
const INSERT = 0x34
const ACTION = 0x42
const VALUE_META = 0x56
const VALUE = 0x57
const PREDECESSORS = 0x70
/** -1 in signed LEB128: in a run-length encoded column, it stands before one value that is not repeated. */
const ONE = 0x7f
const SET = 1
const MAKE_TEXT = 4
const STRING = 6

const utf8 = new TextEncoder()
const TYPE = utf8.encode("@type")
const strictText = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const NO_BYTES = new Uint8Array()

/** Makes the genesis of an entity. It has no deps, and its only operation sets `@type` to the collection. */
export const genesisOf = (entity: string, collection: string): Change =>
  recent(`genesis ${entity} ${collection}`, () => makeGenesis(entity, collection))

function makeGenesis(entity: string, collection: string): Change {
  const made = template(`genesis ${collection}`, () => {
    const name = utf8.encode(collection)
    const meta = new BytesWriter(new Uint8Array(8))
    meta.byte(ONE)
    meta.uleb((name.length << 4) | STRING)
    return oneOperation(0, 1, TYPE, SET, meta.written(), name)
  })
  return deriveFrom(made, entity)
}

/** Makes the change that creates the empty text of one field. Its only dep is the genesis. */
export const textContainer = (entity: string, genesis: Change, key: string): Change =>
  recent(`text ${genesis.hash} ${key}`, () => makeContainer(entity, genesis, key))

function makeContainer(entity: string, genesis: Change, key: string): Change {
  const name = utf8.encode(key)
  const made = template(`text ${name.length}`, () =>
    oneOperation(1, 2, new Uint8Array(name.length), MAKE_TEXT, Uint8Array.of(ONE, 0), NO_BYTES),
  )
  return deriveFrom(made, entity, { dep: genesis.hash, key: name })
}

/**
 * Tells whether a change is a named one (a genesis or a text's container), only looks like one, or is derived otherwise.
 *
 * - `named`: the change is, byte for byte, the genesis of the entity or the container of a text.
 * - `forged`: the change has the place of a named one, but other bytes. In the log it would give the entity a genesis or
 *   a container that the replicas do not know. Either it has no deps. Or it is a derived change of time 0 with one
 *   operation and the genesis as its only dep.
 * - `derived`: the change is any other derived change.
 * - undefined: any other change, that is, one of a session actor with deps.
 */
export function derivation(
  entity: string,
  collection: string,
  change: Change,
): "named" | "forged" | "derived" | undefined {
  const { deps, time, startOp, maxOp, hash, chunk } = change
  if (deps.length === 0) return hash === genesisOf(entity, collection).hash ? "named" : "forged"
  const genesis =
    deps.length === 1 && time === 0 && startOp === 2 && maxOp === 2 ? genesisOf(entity, collection) : undefined
  if (genesis === undefined || deps[0] !== genesis.hash) return isDerived(entity, change) ? "derived" : undefined
  const key = textKey(chunk)
  if (key !== undefined && textContainer(entity, genesis, key).hash === hash) return "named"
  return isDerived(entity, change) ? "forged" : undefined
}

/**
 * The named changes that were made lately. To make one takes two hashes, and each is needed several times: for example
 * to save a new note, and again to push the note.
 */
let recents = new Map<string, Change>()
/**
 * The named changes before `recents`. When `recents` is full, it becomes `earlier`, and the old `earlier` is forgotten.
 */
let earlier = recents
/** The most changes in `recents`. */
const RECENT = 1024

function recent(name: string, make: () => Change): Change {
  const known = recents.get(name) ?? earlier.get(name)
  if (known !== undefined) return known
  const made = make()
  if (made.chunk.length > LARGEST_KEPT) return made
  if (recents.size === RECENT) [recents, earlier] = [new Map(), recents]
  recents.set(name, made)
  noteMade(made)
  return made
}

/**
 * The templates, by name: one for the genesis of each collection, and one for the containers of all texts whose keys
 * have the same number of bytes. The oldest template is forgotten first.
 */
const templates = new Map<string, Template>()
/**
 * The most templates that are kept. An app needs fewer, but changes of other replicas may bring any number of names.
 */
const KEPT = 256
/** A template or a named change of more bytes than this is not kept. */
const LARGEST_KEPT = 512

/** For tests. */
export const templatesKept = (): number => templates.size

function template(name: string, encode: () => Uint8Array): Template {
  const known = templates.get(name)
  if (known !== undefined) return known
  const made = templateOf(encode())
  if (made.change.chunk.length > LARGEST_KEPT) return made
  templates.set(name, made)
  const [first] = templates.keys()
  if (templates.size > KEPT && first !== undefined) templates.delete(first)
  return made
}

/** Encodes a change of one operation, which writes a key of the root. Its deps and its actor are zero bytes. */
function oneOperation(
  deps: number,
  startOp: number,
  key: Uint8Array,
  action: number,
  valueMeta: Uint8Array,
  value: Uint8Array,
): Uint8Array {
  const keys = new BytesWriter(new Uint8Array(key.length + 8))
  keys.byte(ONE)
  keys.uleb(key.length)
  keys.bytes(key)
  const columns: [number, Uint8Array][] = [
    [KEY, keys.written()],
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

/**
 * Returns the key to which a change of one operation writes. Undefined if it does not write to a key, or if the key is
 * not UTF-8. Call it for a change that may be the container of a text.
 */
export function textKey(chunk: Uint8Array): string | undefined {
  const layout = layoutOf(openChunk(chunk))
  const columns = new Columns(layout)
  if (!columns.next() || columns.name !== KEY) return undefined
  const column = new Bytes(chunk, columns.from, columns.to)
  if (column.sleb() !== -1) return undefined
  const key = column.slice(column.uleb())
  return column.done ? keyOf(key) : undefined
}

/** Decodes the key of a text. Returns undefined when the bytes are not UTF-8. */
export function keyOf(bytes: Uint8Array): string | undefined {
  try {
    return strictText.decode(bytes)
  } catch {
    return undefined
  }
}
