/**
 * What stands inside a change, as far as it says whether the change is honest: which operations it names, and whether any
 * Automerge would write it. Read from the columns in plain JavaScript, because Automerge's own decoder costs more than
 * applying the change. Columns as in https://automerge.org/automerge-binary-format-spec ("Operation columns").
 */

import type { Code } from "../base/errors.ts"
import { hex } from "../base/hash.ts"
import type { Change } from "../wire/chunk.ts"
import type { Actor } from "../wire/protocol.ts"

/** Whether this operation stands among the change's ancestors. */
export type Exists = (counter: number, actor: Actor) => boolean

const SET = 1
const DELETE = 3
const INCREMENT = 5
const MARK = 7
/** Where the root says which collection the entity is in. */
export const TYPE = "@type"
/** The type of a value that is a scalar string. */
const STRING = 6

/**
 * `OP_REFERENCE` when an operation names one that is neither earlier in this change nor among its ancestors. `CHUNK_BAD`
 * for operations that no Automerge writes and that do harm only where something concurrent meets them, so that trying
 * them would not come out the same everywhere: an insertion into a map, a deletion of nothing, half a mark. So for those
 * that touch the collection, which is settled once, by the genesis. (That is not asked here: it is known byte for byte.)
 */
export function fault(change: Change, exists: Exists): Code | undefined {
  try {
    return faultIn(new Operations(change), change, exists)
  } catch {
    return "CHUNK_BAD"
  }
}

function faultIn(op: Operations, { startOp }: Change, exists: Exists): Code | undefined {
  const known = (counter: number, actor: number) => {
    if (actor === 0 && counter >= startOp) return counter < op.counter
    const author = op.actors[actor]
    return author !== undefined && exists(counter, author)
  }
  let marking = false
  while (op.next()) {
    if (!honest(op) || (op.action === MARK && !op.markName.there) !== marking) return "CHUNK_BAD"
    marking = op.action === MARK && op.markName.there
    if (op.inRoot && op.key.text === TYPE) return "CHUNK_BAD"
    if (!op.inRoot && !known(op.objectCounter.value, op.objectActor.value)) return "OP_REFERENCE"
    if (op.onElement && !known(op.elementCounter.value, op.elementActor.value)) return "OP_REFERENCE"
    for (let i = 0; i < op.replaces; i++) {
      op.replacedCounter.next()
      op.replacedActor.next()
      if (!known(op.replacedCounter.value, op.replacedActor.value)) return "OP_REFERENCE"
    }
  }
  return marking ? "CHUNK_BAD" : undefined
}

function honest(op: Operations): boolean {
  const { action, inMap, insert, replaces } = op
  if (op.objectActor.there === op.inRoot || action > MARK) return false
  if (inMap) {
    if (op.elementCounter.there || op.elementActor.there || insert || op.key.text === "__proto__") return false
  } else if (op.inRoot || op.onElement === op.atHead) return false
  if (action === MARK) return insert
  if (action === DELETE || action === INCREMENT) return !insert && replaces > 0
  // A put onto an element replaces it. What replaces nothing is a new key of a map, or an insertion, which must.
  return inMap || (insert ? replaces === 0 : op.onElement && replaces > 0)
}

/** Whether all that the change does is to set this key of the root. */
export function setsOnly(change: Change, key: string): boolean {
  try {
    const op = new Operations(change)
    while (op.next()) if (!op.inRoot || op.key.text !== key || op.action !== SET) return false
    return true
  } catch {
    return false
  }
}

/** The string that the change's only operation sets this key of the root to; undefined for any other change. */
export function onlyString(change: Change, key: string): string | undefined {
  try {
    const op = new Operations(change)
    if (change.ops !== 1 || !op.next() || !op.inRoot || op.key.text !== key || op.action !== SET) return undefined
    return op.string()
  } catch {
    return undefined
  }
}

/** The keys of the root that the change puts or deletes. */
export function rootKeys(change: Change): Set<string> {
  const keys = new Set<string>()
  const op = new Operations(change)
  while (op.next()) if (op.inRoot) keys.add(op.key.text)
  return keys
}

/** Walks over a change's operations; the fields are those of the present one. */
class Operations {
  /** Whom an actor's number means: 0 is the author, then the others that the change names. */
  readonly actors: Actor[]
  counter: number
  #left: number
  readonly objectActor: Column
  readonly objectCounter: Column
  readonly elementActor: Column
  readonly elementCounter: Column
  readonly key: Column
  readonly markName: Column
  /** Of each value how long it is and of which type. */
  readonly #valueKind: Column
  readonly #values: Bytes
  /** One value for each replaced operation, not for each operation: whoever wants them calls `next`. */
  readonly replacedActor: Column
  readonly replacedCounter: Column
  readonly #insertions: Column
  readonly #actions: Column
  readonly #replacements: Column

  constructor({ chunk, actor, startOp, ops }: Change) {
    const header = new Bytes(chunk, 9)
    header.uleb() // length
    header.take(32 * header.uleb()) // deps
    header.take(header.uleb()) // actor
    for (let i = 0; i < 3; i++) header.uleb() // seq, startOp, time
    header.take(header.uleb()) // message
    this.actors = [actor]
    for (let n = header.uleb(); n > 0; n--) this.actors.push(hex(header.take(header.uleb())))
    const table: number[] = []
    for (let n = 2 * header.uleb(); n > 0; n--) table.push(header.uleb())
    const columns = new Map<number, Uint8Array>()
    for (let i = 0; i < table.length; i += 2) columns.set(table[i]!, header.take(table[i + 1]!))

    const column = (spec: number) => new Column(columns.get(spec) ?? NOTHING, spec & 7)
    this.objectActor = column(1)
    this.objectCounter = column(2)
    this.elementActor = column(17)
    this.elementCounter = column(19)
    this.key = column(21)
    this.#insertions = column(52)
    this.#actions = column(66)
    this.#valueKind = column(86)
    this.#values = new Bytes(columns.get(87) ?? NOTHING, 0)
    this.#replacements = column(112)
    this.replacedActor = column(113)
    this.replacedCounter = column(115)
    this.markName = column(165)
    this.#left = ops
    this.counter = startOp - 1
  }

  next(): boolean {
    if (this.#left === 0) return false
    this.#left--
    this.counter++
    this.objectActor.next()
    this.objectCounter.next()
    this.elementActor.next()
    this.elementCounter.next()
    this.key.next()
    this.#insertions.next()
    this.#actions.next()
    this.#replacements.next()
    this.markName.next()
    return true
  }

  /** The value of the first operation, if it is a string. */
  string(): string | undefined {
    this.#valueKind.next()
    const { there, value } = this.#valueKind
    return there && value % 16 === STRING ? utf8.decode(this.#values.take(Math.floor(value / 16))) : undefined
  }

  get inRoot(): boolean {
    return !this.objectCounter.there
  }
  get inMap(): boolean {
    return this.key.there
  }
  get onElement(): boolean {
    return this.elementActor.there && this.elementCounter.there
  }
  /** At the beginning of a list or text. */
  get atHead(): boolean {
    return !this.elementActor.there && this.elementCounter.there && this.elementCounter.value === 0
  }
  get action(): number {
    return this.#actions.value
  }
  get insert(): boolean {
    return this.#insertions.value === 1
  }
  get replaces(): number {
    return this.#replacements.there ? this.#replacements.value : 0
  }
}

const NOTHING = new Uint8Array()
/** Column types: the low three bits of a column's name. Groups, actors and counters are plain numbers. */
const DELTA = 3
const FLAGS = 4
const TEXT = 5
const utf8 = new TextDecoder()

/** A run-length encoded column: `there` is false for a null, and after the end. */
class Column {
  there = false
  value = 0
  text = ""
  readonly #bytes: Bytes
  readonly #type: number
  #left = 0
  #literal = false
  #step = 0

  constructor(bytes: Uint8Array, type: number) {
    this.#bytes = new Bytes(bytes, 0)
    this.#type = type
    if (type === FLAGS) this.value = 1 // runs alternate, and the first one is false
  }

  next(): void {
    if (this.#type === FLAGS) return this.#nextFlag()
    if (this.#left === 0) {
      this.there = false
      if (this.#bytes.done) return
      this.#startRun()
    } else if (this.there && this.#literal) this.#read()
    this.#left--
    if (this.there && this.#type === DELTA) this.value += this.#step
  }

  #startRun(): void {
    const length = this.#bytes.sleb()
    this.there = length !== 0
    this.#literal = length < 0
    this.#left = this.there ? Math.abs(length) : this.#bytes.uleb()
    if (this.there) this.#read()
    if (this.#left === 0) throw new Error("an empty run")
  }

  #read(): void {
    if (this.#type === TEXT) this.text = utf8.decode(this.#bytes.take(this.#bytes.uleb()))
    else if (this.#type === DELTA) this.#step = this.#bytes.sleb()
    else this.value = this.#bytes.uleb()
  }

  #nextFlag(): void {
    while (this.#left === 0 && !this.#bytes.done) {
      this.#left = this.#bytes.uleb()
      this.value = 1 - this.value
    }
    if (this.#left > 0) this.#left--
    else this.value = 0
  }
}

/** Reads what `readChange` has found whole and canonical, or a column, where neither is sure. */
class Bytes {
  readonly #bytes: Uint8Array
  #at: number

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.#at = at
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length
  }

  take(length: number): Uint8Array {
    if (this.#at + length > this.#bytes.length) throw new Error("the bytes end early")
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  uleb(): number {
    let value = 0
    for (let scale = 1; scale < 2 ** 56; scale *= 128) {
      const byte = this.#byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
    throw new Error("a number beyond 2^53")
  }

  sleb(): number {
    let value = 0
    for (let scale = 1; scale < 2 ** 56; scale *= 128) {
      const byte = this.#byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return byte & 0x40 ? value - scale * 128 : value
    }
    throw new Error("a number beyond 2^53")
  }

  #byte(): number {
    if (this.done) throw new Error("the bytes end early")
    return this.#bytes[this.#at++] as number
  }
}
