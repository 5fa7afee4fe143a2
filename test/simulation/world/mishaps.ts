/** What can happen to devices and to the relay. A mishap returns false if it could not happen, and did nothing. */
import { decodeHeader, HEADER_BYTES } from "../../../relay/log/segment/header.ts"
import type { Relay, RelayOptions } from "../../../src/sync/connection/relay-connection.ts"
import type { Files } from "../../support/disk.ts"
import { isOurs } from "./relay.ts"
import type { Replica } from "./replica.ts"
import type { Records } from "./store.ts"
import type { World } from "./world.ts"

// a device and its program --------------------------------------------------------------------------------------------

/** Kills the device's program. `delivered`: frames that the program has sent still arrive. */
export function crash(world: World, replica: Replica, delivered: boolean): boolean {
  if (!replica.running) return false
  world.seen["replica crashes"]++
  replica.crash(delivered)
  return true
}

export function open(world: World, replica: Replica): boolean {
  if (replica.running) return false
  world.seen["replicas reopened"]++
  replica.start()
  return true
}

/** Connects to `relay`, or else to the relay that the replica had last. */
export function connect(world: World, replica: Replica, relay?: Relay | RelayOptions): void {
  const { ws, left } = replica
  if (!ws) return
  if (left?.open) {
    world.seen["returns to a socket"]++
    if (left.up.length + left.down.length > 0) world.seen["returns amid old frames"]++
  }
  replica.left = undefined
  ws.connect(relay)
}

export function disconnect(world: World, replica: Replica): void {
  const { ws } = replica
  if (ws?.status.connected) replica.left = world.network.of(replica.name).at(-1)
  ws?.disconnect()
}

export function goOffline(world: World, replica: Replica): boolean {
  if (!replica.online) return false
  world.seen["offline times"]++
  replica.online = false
  for (const connection of world.network.of(replica.name)) connection.cut()
  return true
}

export function failCommits(replica: Replica, n: number): boolean {
  if (!replica.running) return false
  replica.device.failCommits(n)
  return true
}

/**
 * Another account signs in on the device. Changes that the earlier account has not pushed stay on the device until that
 * account signs in again.
 */
export function switchAccount(world: World, replica: Replica, x: number): boolean {
  if (!world.principals || !replica.running) return false
  const other = world.replicas[x % world.replicas.length]!.name
  const accounts = [replica.name, `${replica.name}-guest`, other].filter((account) => account !== replica.principal)
  world.seen["account switches"]++
  signIn(world, replica, accounts[(x >> 3) % accounts.length]!)
  return x % 2 === 0 || (crash(world, replica, true) && open(world, replica))
}

/** The relay sees another principal on this device from now on. The device's connections end. */
export function signIn(world: World, replica: Replica, account: string): void {
  replica.principal = account
  replica.switches++
  for (const connection of world.network.of(replica.name)) connection.cut()
}

/**
 * The relay lets the device only read, or lets it write again. The device learns of it from a notice, or from the first
 * entries of its next connection.
 */
export function changeAccess(world: World, replica: Replica, toldIn: "notice" | "entries"): void {
  const mayWrite = replica.access === "read"
  replica.access = mayWrite ? "write" : "read"
  if (!mayWrite) {
    replica.withdrawn++
    world.seen["access withdrawn"]++
  }
  if (toldIn === "entries") for (const connection of world.network.of(replica.name)) connection.cut()
  else if (world.relay.sayAccess(replica.name)) world.seen["access told in a notice"]++
}

/** Updates the app: the program starts again, with a schema that declares more fields. */
export async function update(world: World, replica: Replica): Promise<boolean> {
  if (replica.version === 2 || (replica.running && !replica.ws)) return false // updated already, or still opening
  await replica.close()
  replica.version = 2
  world.seen["app updates"]++
  return open(world, replica)
}

/** Makes the next one to three calls of the token function fail, and cuts the connection, so that it is called. */
export function failTokens(world: World, replica: Replica, x: number): void {
  for (let i = 0; i <= x % 3; i++) replica.tokens.next.push((x >> 2) % 2 ? "hangs" : "rejects")
  for (const connection of world.network.of(replica.name)) connection.cut()
}

// a device's disk -----------------------------------------------------------------------------------------------------

export function backUpDevice(replica: Replica): void {
  replica.backup = { records: replica.device.backup(), principal: replica.principal }
}

export async function restoreDevice(world: World, replica: Replica): Promise<boolean> {
  const { backup } = replica
  if (!backup) return false
  replica.principal = backup.principal // a restored device has the account that it had at the time of the backup
  await replaceDevice(world, replica, backup.records)
  return true
}

/** A new, empty device takes the place of this one. */
export const wipeDevice = (world: World, replica: Replica): Promise<void> => replaceDevice(world, replica, new Map())

/** Replaces the device by a copy of `from`. Both go on from the same records, as two devices of one person. */
export async function cloneDevice(world: World, replica: Replica, from: Replica): Promise<boolean> {
  if (replica === from) return false
  replica.principal = from.principal
  await replaceDevice(world, replica, from.device.backup())
  return true
}

async function replaceDevice(world: World, replica: Replica, records: Records): Promise<void> {
  await world.loseDisks(async () => {
    replica.crash(false)
    replica.device.restore(records)
    world.oracle.devices.reload(replica.device)
  })
  world.seen["device restores"]++
  replica.start()
}

/** Removes the device for good. */
export async function destroy(world: World, replica: Replica): Promise<void> {
  await world.loseDisks(async () => {
    replica.crash(false)
    world.replicas.splice(world.replicas.indexOf(replica), 1)
  })
}

// the relay -----------------------------------------------------------------------------------------------------------

/** `x` chooses whether the relay's power fails, which clients notice at once, and how long the relay is down. */
export async function crashRelay(world: World, x: number): Promise<boolean> {
  const { relay } = world
  if (!relay.running) return false
  world.seen["relay crashes"]++
  await relay.crash(x % 2 === 0, (id) => x % 3 !== 2 || id % 2 === 0)
  startRelayAfter(world, [100, 2000, 60_000][(x >> 2) % 3]!)
  return true
}

export async function restoreRelay(world: World, which: number): Promise<boolean> {
  const { backups } = world.relay
  const copy = backups[which % backups.length]
  if (!copy) return false
  await putBack(world, copy)
  return true
}

/** Replaces the relay's disk by an older copy. */
export async function putBack(world: World, copy: Files): Promise<void> {
  world.oracle.noteStored()
  await world.loseDisks(() => world.relay.restore(copy))
  startRelayAfter(world, 100)
  world.seen["relay restores"]++
}

/** Stops the relay and alters one byte of one of its files. */
export async function harmRelay(world: World, where: (file: Uint8Array, path: string) => number): Promise<boolean> {
  const { relay, oracle, chance } = world
  const files = new Map(relay.snapshot())
  const fitting = [...files].filter(([path, bytes]) => isOurs(path) && inside(bytes, where(bytes, path)))
  if (fitting.length === 0) return false
  const [path, file] = chance.pick(fitting)
  const at = where(file, path)
  const bytes = file.slice()
  bytes[at]! ^= 1 + chance.below(255)
  oracle.noteStored()
  const before = await relay.readLog(files)
  await world.loseDisks(() => relay.restore(files.set(path, bytes)))
  oracle.log.harmed(segmentOf(path), before)
  const left = new Set((await relay.readLog()).map(({ position }) => position))
  const gone = before.filter(({ position }) => !left.has(position)).length
  if (gone > mayCost(path, file, at))
    oracle.fail("harmed too much", `${gone} of ${before.length} entries for byte ${at} of ${path}`)
  startRelayAfter(world, 100)
  world.seen["relay files harmed"]++
  return true
}

function startRelayAfter(world: World, ms: number): void {
  world.scheduler.after(ms, "relay starts", () => world.relay.start())
}

/** Length in bytes of a segment's header, and of its copy at byte 4,096 (`relay/log/segment/header.ts`). */
export const COPY = 128

/** The number of a segment: `…/00000003.log` is 3. */
const segmentOf = (path: string): number => Number.parseInt(path.slice(path.lastIndexOf("/") + 1), 10)

/**
 * How many entries one altered byte may cost. A byte of a record costs that record's entry. A byte of a header costs
 * none, because there is a copy of it, and a byte of an index costs none, because the index can be made again.
 */
function mayCost(path: string, file: Uint8Array, at: number): number {
  if (!path.endsWith(".log")) return 0
  const header = Buffer.from(file.subarray(0, HEADER_BYTES))
  // If both copies of the header are damaged, the log reads no record of the segment, so all its entries may be lost.
  if (at >= HEADER_BYTES) return decodeHeader(header) ? 1 : Number.POSITIVE_INFINITY
  const bothWhole = header.subarray(0, COPY).equals(header.subarray(-COPY))
  return bothWhole ? 0 : Number.POSITIVE_INFINITY
}
const inside = (bytes: Uint8Array, at: number): boolean => at >= 20 && at < bytes.length
