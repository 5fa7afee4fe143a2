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
 * The key of the record with the owner's name: the random name of the store object that has opened the folder last. The
 * key sorts before every key of the contract.
 */
const ownerKey = "\u0000owner"

/**
 * How many bytes a list may get from LevelDB's thread in one call. A page of rows has a megabyte. It would need many
 * calls with LevelDB's default of 16 kB.
 */
const highWaterMarkBytes = 16 * 1024 * 1024

/**
 * The most keys in `expectedKeys`. A replica expects one key in each commit, so the map has room for the keys of this
 * many workspaces.
 */
const mostExpectedKeys = 64

/**
 * A store in a folder of its own, kept by LevelDB (the package `classic-level`). The folder is made if it does not
 * exist.
 *
 * One process at a time may have the folder open, with any number of workspaces; a second process gets `STORE_IN_USE`.
 * A commit is one LevelDB batch, written with `sync`, so it is on the disk when it resolves. On a full disk the folder
 * can still be opened and read, because a file in it reserves disk space for that.
 */
export function nodeStore(folder: string): Store
/**
 * For tests. `make` gets the real path of the folder, and returns the database before it is opened. The package's types
 * leave this overload out, because apps would need Node's types for it.
 *
 * @internal
 */
export function nodeStore(folder: string, make: (folder: string) => Level): Store
export function nodeStore(folder: string, make: (folder: string) => Level = makeLevel): Store {
  const inTurn = queue()
  let level: Level | undefined
  /** The opening of `level`. Undefined when `level` must be opened, or opened again, before its next use. */
  let opened: Promise<Level> | undefined
  /**
   * Identifies LevelDB's lock file as it was when the folder was opened. As long as this file is at its path, the
   * folder is there, too.
   */
  let lock: FileIdentity | undefined
  /**
   * The `STORE_GONE` error, once the folder was found to be removed. Undefined before that, and again after `close`.
   */
  let gone: HeadwaterError | undefined
  /** Reserves disk space for opening the database on a full disk. Undefined before the first opening. */
  let reserve: Reserve | undefined
  /** Frees the space of deleted records. Undefined before the first opening. */
  let compaction: Compaction | undefined
  /**
   * The random name that this object has written under `ownerKey`. Undefined while the name is not written: while no
   * workspace is claimed, or the disk has no space for it.
   */
  let owner: string | undefined
  /**
   * The present values of the keys for which commits have expected a value. They stay correct, because only this object
   * writes while the folder is open.
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

  /** Closes the database, and resets `lock` and `gone`: the next opening takes whatever folder is at the path then. */
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
   * Throws `STORE_GONE` when the folder was removed or replaced. LevelDB does not notice this: its writes succeed, and
   * go to files that have no name any more.
   */
  function look(): void {
    if (gone !== undefined) throw gone // each workspace in the folder calls `look`, and must get this error
    if (lock === undefined || isThere(lock)) return
    gone = new HeadwaterError(
      "STORE_GONE",
      `${lock.path} was removed or replaced while it was in use: open the workspace again`,
    )
    throw gone
  }

  async function openLevel(): Promise<Level> {
    look() // otherwise the next lines would make a removed folder again, and later commits would go there
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
    // On a full disk the store can only be read, and the owner's name is not written. The first commit that has space
    // again writes it (`prepare`).
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
   * Returns the database when it can be written to: the owner's name is in it (`signFolder`), and the disk has space
   * for `size` more bytes in the logs and for the next opening. Throws when there is no space.
   */
  async function prepare(size: number): Promise<Level> {
    const db = await ready()
    await reserve?.before(size)
    if (owner !== undefined) return db
    // The database was opened on a full disk, and LevelDB may have refused every write since then. Now there is space,
    // so open it again.
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
      // The value on the disk is decoded and encoded again, because a replica expects the value that it has read. When
      // the disk has damaged the value, the replica has read an empty `Uint8Array`, which differs from the bytes on the
      // disk.
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
    look() // checks the folder during the write, so that the check takes no extra time
    try {
      await written
    } catch (error) {
      if (await survived(batch).catch(no)) return
      if (isSecond || !isOld(error)) throw error
      await put(await ready(), batch, true)
    }
  }

  /**
   * Frees disk space if nothing was written for some seconds. Does not open the database, which is closed after a
   * failed write.
   */
  async function compact(): Promise<void> {
    const db = await opened
    if (db === undefined || !(await compaction?.whenIdle(db))) return
    await inTurn(async () => {
      if (opened !== undefined) await reserve?.trim()
    })
  }

  /**
   * Returns the present value of a key for which a commit expects a value. Keeps the value in memory, because reading
   * it from LevelDB would take a tenth of each commit's time.
   */
  async function lastValue(db: Level, key: string): Promise<Buffer | undefined> {
    if (!expectedKeys.has(key)) {
      if (expectedKeys.size >= mostExpectedKeys) expectedKeys.clear()
      expectedKeys.set(key, await db.get(key))
    }
    return expectedKeys.get(key)
  }

  /**
   * Whether a batch is on the disk although its write failed. Opens the database again to find out. A failed write may
   * leave half a record at the end of LevelDB's log. Records written after this half record would be lost at the next
   * recovery; after a failed fsync, LevelDB refuses them at once. The opening cuts off the half record, and shows
   * whether the batch is there.
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
      void compact().catch(() => {}) // after a failure, the folder stays larger than it needs to be
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
 * Makes the object of a database, which is not open yet. Tables are compressed, which halves their size and does not
 * slow down the opening of a workspace.
 */
const makeLevel = (folder: string): Level => new ClassicLevel(folder, { valueEncoding: "buffer" })

/**
 * Opens the database. Throws when it is locked, or damaged. But a damaged database that never had a record (`isUnmade`)
 * is made anew. After any other failure, deletes the reserve, opens the database with the freed space, and resolves
 * with false. The failure may be that of a full disk: LevelDB's error for it differs from system to system.
 */
async function openIn(path: string, level: Level, reserve: Reserve): Promise<boolean> {
  let hadRoom = true
  await level.open().catch(async (error: unknown) => {
    if (isBecause("LEVEL_LOCKED", error)) throw error // the reserve belongs to the store object that has the lock
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
 * Writes a batch. Uses a chained batch, which takes a third of the time of an array of operations: each operation of
 * the array would be copied.
 */
function writeOps(db: Level, ops: readonly Op[]): Promise<void> {
  const batch = db.batch()
  for (const op of ops) {
    if (op.type === "put") batch.put(op.key, op.value)
    else batch.del(op.key)
  }
  return batch.write({ sync: true })
}

/** Whether the making of the database was interrupted, by a power cut say: none of its files has ever had a record. */
async function isUnmade(path: string): Promise<boolean> {
  for (const name of await readdir(path)) {
    if (/\.(ldb|sst)$/.test(name)) return false
    if (/\.log$/.test(name) && (await stat(join(path, name))).size > 0) return false
  }
  return true
}

/**
 * Makes the folder; returns its real path. Within one process, LevelDB locks a path and not a folder: under two paths,
 * one folder could be opened twice.
 */
async function madeFolder(folder: string): Promise<string> {
  await makeFolder(folder)
  return realpath(folder)
}

/**
 * Whether a thrown value has a message. No `instanceof Error`: in a test with its own globals, Node's errors come from
 * another realm.
 */
const hasMessage = (error: unknown): error is { code?: unknown; message: string; cause?: unknown } =>
  typeof error === "object" && error !== null && typeof (error as Error).message === "string"

/** Whether an error or one of its causes has this code. When an opening fails, LevelDB's code may be in a cause. */
const isBecause = (code: string, error: unknown): boolean =>
  hasMessage(error) && (error.code === code || isBecause(code, error.cause))

/**
 * Whether a write failed because LevelDB could not write a table earlier. LevelDB then refuses every write until it is
 * opened again, even if the disk has space again. The error of such a write names the table's file. An error of the
 * write itself names none, because writes go to a log file.
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

/** Decodes a value. A value of an unknown kind is damaged, and is read as an empty `Uint8Array` (`Value`). */
function decodeValue(encoded: Buffer): Value {
  if (encoded[0] === text) return encoded.toString("utf8", 1)
  if (encoded[0] !== bytes) return new Uint8Array()
  return new Uint8Array(encoded.buffer, encoded.byteOffset + 1, encoded.length - 1)
}

const same = (a: Buffer | undefined, b: Buffer | undefined): boolean => (a && b ? a.equals(b) : a === b)
