import { readdir, realpath, stat, unlink } from "node:fs/promises"
import { join, resolve } from "node:path"
import { ClassicLevel } from "classic-level"
import { HeadwaterError } from "../base/errors.ts"
import { type FileIdentity, identityOf, isThere, makeFolder, syncFolder } from "../base/folder.node.ts"
import { Compaction } from "./compaction.node.ts"
import { checkValue, decodeKey, encodeKey, rangeOf } from "./key.ts"
import { inUse, opening, queue } from "./opening.ts"
import { Reserve } from "./reserve.node.ts"
import type { Expect, Key, Store, Value, Write } from "./store.ts"

/** Keys are encoded by `key.ts`. A value is stored as one byte for its kind, followed by its bytes. */
type Level = ClassicLevel<string, Buffer>
type Op = { type: "put"; key: string; value: Buffer } | { type: "del"; key: string }

const text = 0x73 // s
const bytes = 0x62 // b

/**
 * The key of a record with a random name: the name of the store object that opened the folder last. The key sorts
 * before every key of the contract.
 */
const ownerKey = "\u0000owner"

/**
 * How many bytes a list may get from LevelDB's thread in one call. With the default of 16 kB, a page of rows, which has
 * a megabyte, would need many calls.
 */
const highWaterMarkBytes = 16 * 1024 * 1024

/**
 * How many keys `expectedKeys` has at most. A replica expects one key in each commit, so the map has room for the keys
 * of this many workspaces.
 */
const mostExpectedKeys = 64

/**
 * A store in a folder of its own, kept by LevelDB (the package `classic-level`). The folder is made if it does not
 * exist.
 *
 * One process at a time may have the folder open, with any number of workspaces; a second gets `STORE_IN_USE`. A commit
 * is one LevelDB batch, written with `sync`, so it is on the disk when it resolves. On a full disk the folder can still
 * be opened and read, because a file in it reserves disk space for that.
 */
export function nodeStore(folder: string): Store
/**
 * For tests. `make` gets the real path of the folder and returns the database, not yet open. Apps do not see this
 * overload, because they would need Node's types for it.
 *
 * @internal
 */
export function nodeStore(folder: string, make: (folder: string) => Level): Store
export function nodeStore(folder: string, make: (folder: string) => Level = makeLevel): Store {
  const inTurn = queue()
  let level: Level | undefined
  /**
   * The opening of `level`. Undefined when `level` must be opened, for the first time or again, before its next use.
   */
  let opened: Promise<Level> | undefined
  /**
   * Identifies LevelDB's lock file as it was when the folder was opened. As long as this file exists under its path, so
   * does the folder.
   */
  let lock: FileIdentity | undefined
  /** The error of a folder that was found to be removed. Undefined until then, and again after `close`. */
  let gone: HeadwaterError | undefined
  /** Reserves disk space for opening the database on a full disk. Undefined before the first opening. */
  let reserve: Reserve | undefined
  /** Frees the space of deleted records. Undefined before the first opening. */
  let compaction: Compaction | undefined
  /**
   * The random name that this object has written under `ownerKey`. Undefined while no workspace is claimed, and while
   * the disk has no space for writes.
   */
  let owner: string | undefined
  /**
   * The present values of keys that commits have expected. They stay correct, because only this object writes while the
   * folder is open.
   */
  const expectedKeys = new Map<string, Buffer | undefined>()

  const { claim, run } = opening({
    async open() {
      await ready().catch(async (error: unknown) => {
        await close().catch(() => {})
        throw isBecause("LEVEL_LOCKED", error) ? inUse(`another process or store has ${folder} open`, error) : error
      })
    },
    close,
  })

  /** Closes the database and forgets the folder. The next opening uses whatever is in the folder then. */
  async function close(): Promise<void> {
    opened = undefined
    owner = undefined
    lock = undefined
    gone = undefined
    await closeLevel()
  }

  async function closeLevel(): Promise<void> {
    await compaction?.ended()
    await level?.close()
  }

  /** Returns the database. Opens it first if it is not open. */
  function ready(): Promise<Level> {
    opened ??= openLevel().catch((error: unknown) => {
      opened = undefined
      throw error
    })
    return opened
  }

  /**
   * Throws `STORE_GONE` when the folder was removed or replaced. LevelDB does not notice: its writes succeed, and go to
   * files that have no name any more.
   */
  function look(): void {
    if (gone !== undefined) throw gone // every workspace in the folder calls `look` and gets this error
    if (lock === undefined || isThere(lock)) return
    gone = new HeadwaterError(
      "STORE_GONE",
      `${lock.path} was removed or replaced while it was in use: open the workspace again`,
    )
    throw gone
  }

  async function openLevel(): Promise<Level> {
    look() // otherwise a removed folder would be made again, and later commits would go there
    const path = await madeFolder(folder)
    expectedKeys.clear()
    if (level) await closeLevel()
    else level = make(path)
    reserve ??= new Reserve(path)
    compaction ??= new Compaction(path)
    const hadRoom = await openIn(path, level, reserve)
    // LevelDB does not sync the folder. A power cut could lose the directory entry of the new manifest, and leave an
    // old manifest that was never synced.
    await syncFolder(path)
    lock = await identityOf(join(path, "LOCK")) // LevelDB never replaces this file
    const last = await level.get(ownerKey)
    if (owner !== undefined && last?.toString() !== owner) {
      throw new Error(
        `another process has used ${folder} since a write failed here: close the workspace and open it again`,
      )
    }
    // On a full disk the store can only be read. The first commit for which there is space again writes the owner's
    // name (`signFolder`).
    if (owner !== undefined || !hadRoom || (await signFolder(level).then(yes, no))) return level
    await level.close() // the failed write may have left half a record at the end of the log
    await openIn(path, level, reserve)
    return level
  }

  async function signFolder(db: Level): Promise<void> {
    const me = crypto.randomUUID()
    await db.put(ownerKey, Buffer.from(me))
    owner = me
  }

  /**
   * Returns the database once it can be written to, that is, once the folder is signed (`signFolder`) and the disk has
   * space for `size` more bytes in the logs and for the next opening.
   */
  async function prepare(size: number): Promise<Level> {
    const db = await ready()
    await reserve?.before(size)
    if (owner !== undefined) return db
    // The database was opened on a full disk, and LevelDB may refuse every write since then. Now there is space, so
    // open the database again.
    opened = undefined
    const again = await ready()
    if (owner === undefined) throw new Error("no space left on the disk")
    return again
  }

  async function write(batch: Op[], expect: readonly Expected[]): Promise<void> {
    if (gone !== undefined) throw gone
    const db = await prepare(sizeOf(batch))
    for (const { key, value } of expect) {
      const last = await lastValue(db, key)
      // The stored value is decoded and encoded again, because a replica expects the value that it has read. If the disk
      // has damaged that value, its bytes on the disk differ.
      if (same(last && encodeValue(decodeValue(last)), value)) continue
      throw new HeadwaterError(
        "STORE_MOVED",
        `${decodeKey(key).join("/")} does not have the expected value: read it again`,
      )
    }
    await put(db, batch)
    compaction?.wrote(
      sizeOf(batch),
      batch.reduce((n, { type }) => n + Number(type === "del"), 0),
    )
    for (const op of batch)
      if (expectedKeys.has(op.key)) expectedKeys.set(op.key, op.type === "put" ? op.value : undefined)
  }

  async function put(db: Level, batch: Op[], isSecond = false): Promise<void> {
    const written = writeOps(db, batch)
    written.catch(() => {})
    look() // called during the write, so that the check costs no extra time
    try {
      await written
    } catch (error) {
      if (await survived(batch).catch(no)) return
      if (isSecond || !isOld(error)) throw error
      await put(await ready(), batch, true)
    }
  }

  /** Frees disk space if nothing was written lately. Does not open the database, which is closed after a failure. */
  async function compact(): Promise<void> {
    const db = await opened
    if (db === undefined || !(await compaction?.whenIdle(db))) return
    await inTurn(async () => {
      if (opened !== undefined) await reserve?.trim()
    })
  }

  /**
   * Returns the present value of a key for which a commit expects a value. The value is kept in memory, because reading
   * it from LevelDB would cost each commit a tenth of its time.
   */
  async function lastValue(db: Level, key: string): Promise<Buffer | undefined> {
    if (!expectedKeys.has(key)) {
      if (expectedKeys.size >= mostExpectedKeys) expectedKeys.clear()
      expectedKeys.set(key, await db.get(key))
    }
    return expectedKeys.get(key)
  }

  /**
   * Whether a batch is on the disk although writing it failed. A failed write may leave half a record at the end of
   * LevelDB's log. Records that are written after this half record are lost at the next recovery; after a failed fsync,
   * LevelDB refuses them at once. So the database is opened again before anything else is written. Opening it cuts off
   * the half record, and shows whether the batch is there.
   */
  async function survived(batch: readonly Op[]): Promise<boolean> {
    opened = undefined
    const db = await ready()
    const last = new Map(batch.map((op) => [op.key, op.type === "put" ? op.value : undefined]))
    const found = await db.getMany([...last.keys()])
    return [...last.values()].every((value, i) => same(found[i], value))
  }

  return {
    place: `folder ${resolve(folder)}`,
    claim,
    async look() {
      await run("look for its folder", async () => look())
      await run("keep room on the disk", () => inTurn(async () => reserve?.before(0)))
      void compact().catch(() => {}) // a failure only leaves the folder larger than it needs to be
    },
    get: (key) =>
      run("get", async () => {
        const encoded = encodeKey(key)
        const found = await (await ready()).get(encoded)
        return found && decodeValue(found)
      }),
    list: (prefix, { after, limit = -1 } = {}) =>
      run("list", async () => {
        const range = rangeOf(prefix, after)
        const found = await (await ready()).iterator({ ...range, limit, highWaterMarkBytes }).all()
        return found.map(([key, value]): [Key, Value] => [decodeKey(key), decodeValue(value)])
      }),
    commit: (writes, { expect = [] } = {}) =>
      run("commit", async () => {
        const batch = writes.map(encodeWrite)
        const expected = expect.map(encodeExpect)
        await inTurn(() => write(batch, expected))
      }),
  }
}

/**
 * Makes a database. Its tables are compressed, which halves their size and does not make opening a workspace slower.
 */
const makeLevel = (folder: string): Level => new ClassicLevel(folder, { valueEncoding: "buffer" })

/**
 * Opens the database. If that fails, deletes the reserve, opens the database with the freed space, and resolves with
 * false. This is done after every failure except a lock or damage, because LevelDB's error on a full disk differs from
 * system to system. A damaged database that never had a record (`isUnmade`) is made anew.
 */
async function openIn(path: string, level: Level, reserve: Reserve): Promise<boolean> {
  let hadRoom = true
  await level.open().catch(async (error: unknown) => {
    if (isBecause("LEVEL_LOCKED", error)) throw error // the reserve belongs to whoever holds the lock
    if (isBecause("LEVEL_CORRUPTION", error)) {
      if (!(await isUnmade(path))) throw error
      for (const name of await readdir(path)) await unlink(join(path, name))
    } else {
      hadRoom = false
      await reserve.release()
    }
    await level.open()
  })
  await reserve.opened()
  return hadRoom
}

const yes = () => true
const no = () => false

const sizeOf = (ops: readonly Op[]): number =>
  ops.reduce((sum, op) => sum + 16 + op.key.length + (op.type === "put" ? op.value.length : 0), 0)

/**
 * Writes a batch. A chained batch takes a third of the time of an array, from which every operation would be copied.
 */
function writeOps(db: Level, ops: readonly Op[]): Promise<void> {
  const batch = db.batch()
  for (const op of ops) {
    if (op.type === "put") batch.put(op.key, op.value)
    else batch.del(op.key)
  }
  return batch.write({ sync: true })
}

/** Whether a power cut interrupted the making of the database: none of its files has ever held a record. */
async function isUnmade(path: string): Promise<boolean> {
  for (const name of await readdir(path)) {
    if (/\.(ldb|sst)$/.test(name)) return false
    if (/\.log$/.test(name) && (await stat(join(path, name))).size > 0) return false
  }
  return true
}

/**
 * Makes the folder; returns its real path. Within one process LevelDB locks a path, not a folder, so one folder could
 * be opened twice by two different paths.
 */
async function madeFolder(folder: string): Promise<string> {
  await makeFolder(folder)
  return realpath(folder)
}

/** Not `instanceof Error`: in a test that has globals of its own, Node's errors belong to another realm. */
const hasMessage = (error: unknown): error is { code?: unknown; message: string; cause?: unknown } =>
  typeof error === "object" && error !== null && typeof (error as Error).message === "string"

/** Whether an error has this code. LevelDB's code for a failed opening is in the error or in one of its causes. */
const isBecause = (code: string, error: unknown): boolean =>
  hasMessage(error) && (error.code === code || isBecause(code, error.cause))

/**
 * Whether a write failed because LevelDB could not write a table earlier. After that, LevelDB refuses every write until
 * it is opened again, even if the disk has space again. The error then names a table file. A write itself goes to a log
 * file, so an error of its own names no table.
 */
const isOld = (error: unknown): boolean => hasMessage(error) && /\.(ldb|sst)\b/.test(error.message)

interface Expected {
  readonly key: string
  readonly value: Buffer | undefined
}

function encodeExpect([key, value]: Expect): Expected {
  return { key: encodeKey(key), value: value === undefined ? undefined : encodeValue(value) }
}

function encodeWrite([key, value]: Write): Op {
  const encoded = encodeKey(key)
  return value === undefined ? { type: "del", key: encoded } : { type: "put", key: encoded, value: encodeValue(value) }
}

function encodeValue(value: Value): Buffer {
  checkValue(value)
  const isText = typeof value === "string"
  const encoded = Buffer.allocUnsafe(1 + (isText ? Buffer.byteLength(value) : value.length))
  encoded[0] = isText ? text : bytes
  if (isText) encoded.write(value, 1)
  else encoded.set(value, 1)
  return encoded
}

/** Reads a value. A value of an unknown kind is damaged, and is read as no bytes (`Value`). */
function decodeValue(encoded: Buffer): Value {
  if (encoded[0] === text) return encoded.toString("utf8", 1)
  if (encoded[0] !== bytes) return new Uint8Array()
  return new Uint8Array(encoded.buffer, encoded.byteOffset + 1, encoded.length - 1)
}

const same = (a: Buffer | undefined, b: Buffer | undefined): boolean => (a && b ? a.equals(b) : a === b)
