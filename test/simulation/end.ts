/**
 * The end of a run: everything is made to work again, and then the world must come to rest with all replicas in
 * agreement.
 */

import * as A from "@automerge/automerge"
import type { Hash } from "../../src/wire/protocol.ts"
import { jsonIn } from "../support/record.ts"
import { disarm } from "./ambush.ts"
import { describe } from "./oracle/edits.ts"
import { short, Violation } from "./oracle/facts.ts"
import { connect, signIn, update } from "./world/mishaps.ts"
import { collectionOf, type Replica, rowsOf, tokensOf, type Workspace } from "./world/replica.ts"
import type { Device } from "./world/store.ts"
import type { World } from "./world/world.ts"

/** The longest time in which all must agree, ms: far longer than the longest pause between two attempts to connect. */
const REST_MS = 30 * 60_000

/**
 * Wait before rows are compared, ms: longer than the clocks of two replicas differ. After it no change has a time that
 * is in the future for a replica, so all rows show the same times.
 */
const PRESENT_MS = 25_000

export async function settle(world: World): Promise<void> {
  for (const replica of world.replicas) disarm(world, replica)
  world.heal()
  await eachOpens(world)
  await eachUpdates(world)
  await eachReads(world)
  // Come to rest first without a new edit. A new edit would start a push, which would also send changes that the
  // library had forgotten to push.
  await comesToRest(world)
  await accountsComeBack(world)
  eachWrites(world)
  await comesToRest(world)
  const newcomer = world.addReplica()
  newcomer.version = world.replicas[0]!.version
  newcomer.start()
  await comesToRest(world)
  await world.pass(PRESENT_MS)
  await checkAgreement(world)
}

async function eachOpens(world: World): Promise<void> {
  for (const replica of world.replicas) {
    for (let ms = 0; !replica.ws; ms += 100) {
      if (ms > REST_MS) fail("never opens", replica.name)
      await world.pass(100)
    }
  }
}

/**
 * If the app was updated on one device, it is updated on all, because rows show what the app's schema declares. A
 * replica that has met a newer relay is started again, because until then it waits for an update.
 */
async function eachUpdates(world: World): Promise<void> {
  const isNew = world.replicas.some(({ version }) => version === 2)
  for (const replica of world.replicas) {
    if (replica.newer.met > 0) await replica.close()
    if (isNew) await update(world, replica)
    if (!replica.running) replica.start()
  }
  await eachOpens(world)
}

/** Reads every entity, because a device finds damage in a change on its disk only when it reads the change. */
async function eachReads(world: World): Promise<void> {
  if (!world.oracle.devices.anyHarmed) return
  for (const { device, ws } of world.replicas) {
    const entities = new Set(world.oracle.held(device.name).values())
    for (const entity of entities) await arrives(world, ws![collectionOf(entity)].read(entity))
  }
}

/** Signs in, on each device, every account that has left changes there, so that all these changes are pushed. */
async function accountsComeBack(world: World): Promise<void> {
  for (const replica of world.replicas) {
    // One round may not be enough: changes of one account may depend on changes of another one, and those in turn on
    // changes of the first one.
    for (let [left] = othersOf(world, replica), turn = 0; left; [left] = othersOf(world, replica)) {
      if (++turn > 100) fail("still owed", `${replica.name} to ${left.principal}`)
      // Only the account changes; the program is not started again. A program that starts writes to its second
      // workspace at once. It would do so before it knows the new account, so that the outbox would get another change
      // of the old account.
      signIn(world, replica, left.principal)
      await comesToRest(world)
      replica.wake()
      await comesToRest(world)
    }
  }
}

/** The other accounts that have left changes on this device; none if none of these changes can ever be pushed. */
function othersOf(world: World, { ws, home, device }: Replica): Workspace["status"]["others"] {
  const canPush = ws!.status.pending > owedForEver(world, device).length
  return [...(canPush ? ws!.status.others : []), ...(home?.status.others ?? [])]
}

/**
 * Every replica makes one more edit. After everything that happened to it, it must still be able to write and to be
 * read by others.
 */
function eachWrites(world: World): void {
  for (const replica of world.replicas) world.edit(replica, "both", `last-${replica.name}`)
}

async function comesToRest(world: World): Promise<void> {
  const until = world.scheduler.now + REST_MS
  // ms, longer than any frame can be on its way
  const enough = 3000 + 2 * world.speeds.network.worst
  for (const replica of world.replicas) if (replica.ws?.status.phase !== "live") connect(world, replica, replica.relay)
  for (let quiet = 0; quiet < enough; ) {
    await world.pass(1000)
    quiet = world.replicas.every((replica) => isLevel(world, replica)) ? quiet + 1000 : 0
    if (world.scheduler.now <= until) continue
    const states = world.replicas.map(({ name, ws, home }) => `${name} ${JSON.stringify([ws?.status, home?.status])}`)
    fail("never quiet", states.join("; "))
  }
  checkAccess(world)
}

/** At rest every device knows the access that the relay grants to it. */
function checkAccess({ replicas }: World): void {
  for (const { name, access, ws, home } of replicas)
    for (const one of [ws!, ...(home ? [home] : [])])
      if (one.status.access !== access) fail("other access", `${name} has ${access} and says ${one.status.access}`)
}

function isLevel(world: World, { ws, home, device }: Replica): boolean {
  if (ws?.status.phase !== "live") return false
  // The number of changes that wait for other accounts may include changes that can never be pushed: the outbox counts
  // every change that would be pushed after a waiting change of the same entity. So `left` may be smaller.
  const left = ws.status.pending - leftIn(ws)
  if (left < 0 || left > owedForEver(world, device, ws.status.principal).length) return false
  return home === undefined || (home.status.phase === "live" && home.status.pending === leftIn(home))
}

/**
 * The changes that a device owes and can never push: those of which the run has destroyed every copy, and those that
 * depend on such a change. With a principal, changes that wait for another principal are left out.
 */
function owedForEver(world: World, device: Device, principal?: string | null): Hash[] {
  const { oracle } = world
  const whole = oracle.devices.whole(device)
  const owed = [...oracle.devices.owed(device.name).all().keys()]
  return owed
    .filter((hash) => !whole.has(hash) || restsOnLost(world, whole, hash))
    .filter((hash) => principal === undefined || !oracle.devices.waitsForOther(device, hash, principal))
}

/** Number of changes on this device that wait for other accounts. */
const leftIn = ({ status: { others } }: Workspace): number => others.reduce((sum, { pending }) => sum + pending, 0)

async function checkAgreement(world: World): Promise<void> {
  const log = new Map<string, Set<Hash>>()
  for (const {
    entry: { entity, chunks },
  } of await world.relay.readLog()) {
    const hashes = log.get(entity) ?? new Set()
    log.set(entity, hashes)
    for (const chunk of chunks) {
      const { hash } = world.oracle.learn(entity, chunk)
      if (hashes.has(hash) && !world.oracle.causes.wasOrphan(hash)) fail("logged twice", `${entity} ${short(hash)}`)
      hashes.add(hash)
    }
  }
  const waiting = waitingForEver(world, log)
  for (const replica of world.replicas) {
    for (const edit of replica.open) fail("never answered", describe(edit))
    checkNothingOwed(world, replica, waiting)
    checkSameChanges(world, replica, log)
  }
  checkHomes(world)
  await checkSameRows(world, log, waiting)
  await checkEdits(world, log, waiting)
  world.check()
}

/**
 * The entities of which the log or a device has a change that depends on a change without any copy. No replica can show
 * that change.
 */
function waitingForEver({ oracle, replicas }: World, log: ReadonlyMap<string, ReadonlySet<Hash>>): ReadonlySet<string> {
  const logged = new Map([...log].flatMap(([entity, hashes]) => [...hashes].map((hash) => [hash, entity])))
  const { changes, lost } = oracle
  const waiting = new Set<string>()
  for (const held of [logged, ...replicas.map(({ device }) => oracle.devices.whole(device))])
    for (const [hash, entity] of held)
      if (changes.get(hash)!.deps.some((dep) => lost.has(dep) && !held.has(dep))) waiting.add(entity)
  return waiting
}

function checkNothingOwed(world: World, { name, device, ws }: Replica, waiting: ReadonlySet<string>): void {
  const lost = owedForEver(world, device)
  const isHarmed = world.oracle.devices.isDamaged(device)
  if (ws?.status.pending !== lost.length) fail("still owed", `${name} ${ws?.status.pending}`)
  for (const [hash, { entity }] of world.oracle.devices.owed(device.name).all())
    if (!lost.includes(hash)) fail("still owed", `${name} ${entity} ${short(hash)}`)
  for (const [key, value] of device.records.values()) {
    if (key[1] === "rejected") fail("refused for good", `${name} ${key.join("/")} ${value}`)
    const isRest = (key[1] === "out" || key[1] === "outpage") && lost.length === 0
    if (isRest || (key[1] === "stale" && !waiting.has(key[2]!))) fail("still owed", `${name} ${key.join("/")} ${value}`)
    if (key[1] === "state" && jsonIn(value).heal && !isHarmed) fail("still owed", `${name} is healing`)
  }
}

/**
 * Whether this change depends on a change of which no copy is left. A relay always refuses such a change, so it stays
 * in the outbox for ever.
 */
function restsOnLost({ oracle, replicas }: World, held: ReadonlyMap<Hash, string>, hash: Hash): boolean {
  const { changes, lost } = oracle
  // `lost` may lack a change of which no copy is left: if one disk damaged the last copy but one, and another disk
  // later the last copy.
  const isNowhere = (hash: Hash) =>
    !oracle.relayHolds(hash) && replicas.every(({ device }) => !oracle.devices.whole(device).has(hash))
  const open = [hash]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (!held.has(next) && (lost.has(next) || isNowhere(next))) return true
    if (held.has(next)) open.push(...changes.get(next)!.deps)
  }
  return false
}

/** The relay's disk and every device hold the same changes. */
function checkSameChanges(world: World, { name, device }: Replica, log: ReadonlyMap<string, ReadonlySet<Hash>>): void {
  const { oracle } = world
  const held = oracle.devices.whole(device)
  for (const [hash, entity] of held)
    if (!log.get(entity)?.has(hash) && !restsOnLost(world, held, hash))
      fail("diverged", `only ${name} has ${entity} ${short(hash)}`)
  for (const [entity, hashes] of log) {
    for (const hash of hashes) if (!held.has(hash)) fail("diverged", `${name} lacks ${entity} ${short(hash)}`)
  }
}

/**
 * The second workspaces of all replicas show the same rows. Nothing that happens in the first workspaces may disturb
 * the second ones.
 */
function checkHomes({ replicas }: World): void {
  const [first, ...others] = replicas.flatMap(({ name, home }) =>
    home ? [{ name, rows: canonical(home.notes.all()) }] : [],
  )
  for (const { name, rows } of others)
    if (rows !== first!.rows) fail("other rows", `${name} shows at home\n${rows}\nand ${first!.name}\n${first!.rows}`)
}

async function checkSameRows(
  world: World,
  log: ReadonlyMap<string, ReadonlySet<Hash>>,
  waiting: ReadonlySet<string>,
): Promise<void> {
  const settled = <T extends { readonly id: string; readonly $stale?: true }>(row: T | undefined): unknown =>
    row && unsent.has(row.id) ? contentOf(row) : row && waiting.has(row.id) ? { ...row, $stale: undefined } : row
  const entities = [...new Set([...world.entities, ...log.keys()])]
  const unsent = new Set(
    world.replicas.flatMap(({ device }) =>
      owedForEver(world, device).map((hash) => world.oracle.devices.owed(device.name).get(hash)!.entity),
    ),
  )
  // If a disk has damaged the last copy of an entity's changes, or of some on which the others depend, only the row is
  // left of the entity, and only that device shows it. `checkSameChanges` has shown that no device has a copy.
  const { changes, lost } = world.oracle
  const ofLost = new Set([...lost].map((hash) => changes.get(hash)?.entity))
  const lacksDeps = (hashes: ReadonlySet<Hash>) =>
    [...hashes].some((hash) => changes.get(hash)!.deps.some((dep) => !hashes.has(dep)))
  const isLost = (id: string) => (log.has(id) ? lacksDeps(log.get(id)!) : ofLost.has(id))
  const isLeftOver = (id: string) => unsent.has(id) || isLost(id)
  let first: string | undefined
  for (const { name, ws, told } of world.replicas) {
    // Compare before anything is read, because reading hydrates an entity, and that could mend a wrong row.
    const all = rowsOf(ws!)
    if (canonical([...told.notes, ...told.tasks]) !== canonical(all))
      fail("not told", `${name} was told\n${canonical([...told.notes, ...told.tasks])}\nand shows\n${canonical(all)}`)
    const read: unknown[] = []
    for (const entity of entities) read.push(settled(await arrives(world, ws![collectionOf(entity)].read(entity))))
    const shown = canonical({ rows: all.filter(({ id }) => !isLeftOver(id)).map(settled), read })
    if (shown.includes('"$stale"')) fail("stale at rest", `${name} ${shown}`)
    first ??= shown
    if (shown !== first) fail("other rows", `${name} shows\n${shown}\nand ${world.replicas[0]!.name}\n${first}`)
    for (const [i, entity] of entities.entries()) checkContent(world, name, entity, read[i], log.get(entity))
  }
}

/**
 * A row without its metadata: on a device that can never push a change of it, `$pending` differs from the other
 * devices.
 */
const contentOf = (row: object): object => Object.fromEntries(Object.entries(row).filter(([key]) => key[0] !== "$"))

/** A row has the content that Automerge itself makes of the logged changes. */
function checkContent(
  { oracle }: World,
  name: string,
  entity: string,
  read: unknown,
  hashes?: ReadonlySet<Hash>,
): void {
  if (!hashes) {
    if (read !== undefined) fail("other content", `${name} has ${entity} out of nothing`)
    return
  }
  const chunks = [...hashes].map((hash) => oracle.changes.get(hash)!.chunk)
  const [doc] = A.applyChanges(A.init<Record<string, unknown>>(), chunks)
  const plain = JSON.parse(
    JSON.stringify(doc, (_key, value) => (value instanceof A.ImmutableString ? String(value) : value)),
  )
  A.free(doc)
  // If every copy of an entity's genesis is lost, Automerge makes nothing of the rest, and no replica shows the entity.
  if (read === undefined && plain["@type"] === undefined) return
  const { title, body = "", tags } = (read ?? {}) as { title?: string; body?: string; tags?: string[] }
  const is = canonical({ title, body, tags })
  const should = canonical({ title: plain.title, body: plain.body ?? "", tags: plain.tags })
  if (is !== should) fail("other content", `${name} ${entity} shows ${is}, Automerge ${should}`)
}

async function checkEdits(
  world: World,
  log: ReadonlyMap<string, ReadonlySet<Hash>>,
  waiting: ReadonlySet<string>,
): Promise<void> {
  const texts = new Map<string, string[]>()
  for (const entity of new Set([...world.entities, ...log.keys()])) {
    const whole = (await arrives(world, world.replicas[0]!.ws![collectionOf(entity)].read(entity))) as
      | { body?: string }
      | undefined
    texts.set(entity, tokensOf(whole?.body ?? ""))
  }
  for (const edit of world.oracle.edits.made.values()) {
    const { token, entity, hash, state, excused } = edit
    const shown = (texts.get(entity) ?? []).filter((other) => other === token).length
    const known = hash && log.get(entity)?.has(hash)
    const waits =
      hash &&
      world.replicas.some(({ device }) => {
        const held = world.oracle.devices.whole(device)
        return held.has(hash) && restsOnLost(world, held, hash)
      })
    if (state === "saved" && !known && !excused && !waits) fail("saved and lost", describe(edit))
    if (shown > 1) fail("text doubled", `${shown} times ${describe(edit)}`)
    const hidden = world.oracle.edits.removed.has(token) || waiting.has(entity)
    if (known && edit.fields.includes("body") && !shown && !hidden) fail("text lost", describe(edit))
  }
  for (const tokens of texts.values()) {
    for (const token of tokens) if (!world.oracle.edits.made.has(token)) fail("text out of nowhere", token)
  }
}

/** Waits for a promise of the library in simulated time. */
async function arrives<T>(world: World, promise: Promise<T>): Promise<T> {
  let done = false
  void promise.then(
    () => (done = true),
    () => (done = true),
  )
  for (let i = 0; i < 100 && !done; i++) await world.pass(100)
  if (!done) fail("never answers", "a promise of the library")
  return promise
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part) =>
    part !== null && typeof part === "object" && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}

function fail(kind: string, message: string): never {
  throw new Violation(kind, message)
}
