/**
 * The commands that fast-check gives to a world. Each run has weights of its own for the commands, because a schedule
 * in which devices never crash finds other faults than one in which they often crash.
 */
import fc from "fast-check"
import { HEADER_BYTES } from "../../relay/log/segment/header.ts"
import { layAmbush } from "./ambush.ts"
import { harmDevice } from "./world/harm-device.ts"
import {
  backUpDevice,
  COPY,
  changeAccess,
  cloneDevice,
  connect,
  crash,
  crashRelay,
  disconnect,
  failCommits,
  failTokens,
  goOffline,
  harmRelay,
  open,
  restoreDevice,
  restoreRelay,
  switchAccount,
  update,
} from "./world/mishaps.ts"
import { EDITS, type Replica } from "./world/replica.ts"
import { usualSpeeds, type World, type WorldOptions } from "./world/world.ts"

type Op = keyof typeof WEIGHTS | keyof typeof TROUBLES | keyof typeof RIGHTS

export interface Command {
  readonly op: Op
  readonly replica: number
  readonly x: number
  /** What passes before the next command: this many events, or this many simulated ms. */
  readonly gap: { readonly events: number } | { readonly ms: number }
}

const WEIGHTS = {
  edit: 60,
  race: 12,
  burst: 4,
  cut: 4,
  zombie: 4,
  silence: 1,
  offline: 1,
  wake: 2,
  disconnect: 1,
  connect: 2,
  rejoin: 10,
  crash: 3,
  close: 1,
  failCommit: 2,
  failDisk: 2,
  whenStored: 2,
  whenSynced: 2,
  crashRelay: 3,
  backUpRelay: 4,
  restoreRelay: 3,
  harmRelay: 2,
  backUpDevice: 3,
  restoreDevice: 2,
  cloneDevice: 1,
  ambush: 8,
} as const

/**
 * Troubles of devices. They are drawn after the commands above and inserted between them, so a new kind of trouble does
 * not change the runs that have none. `planted-bugs.ts` names runs by their numbers, which thus stay right.
 */
const TROUBLES = {
  account: 1,
  failReads: 1,
  harmDevice: 5,
  update: 1,
  failTokens: 1,
  newer: 1,
} as const

/** Changes of the access that the relay grants. They are drawn last, for the same reason as `TROUBLES`. */
const RIGHTS = {
  access: 1,
} as const

export interface Run {
  readonly options: WorldOptions
  readonly commands: readonly Command[]
}

export async function obey(world: World, { op, replica: i, x, gap }: Command): Promise<void> {
  const replica = world.replicas[i % world.replicas.length]!
  world.scheduler.note(`${replica.name} ${op} ${x}`)
  await ACTS[op](world, replica, x)
  world.check()
  if ("events" in gap) await world.steps(gap.events)
  else await world.pass(gap.ms)
}

const ACTS: Record<Op, (world: World, replica: Replica, x: number) => unknown> = {
  edit: (world, replica, x) => world.edit(replica, EDITS[x % EDITS.length]!, entityOf(world, x >> 3)),
  race: (world, replica, x) => race(world, replica, x),
  burst: (world, replica, x) => burst(world, replica, x),
  cut: (world, replica) => connectionOf(world, replica)?.cut(),
  zombie: (world, replica, x) => becomeZombie(world, replica, x),
  silence: (world, replica, x) => connectionOf(world, replica)?.silence(x % 2 ? "up" : "down"),
  offline: (world, replica) => goOffline(world, replica),
  wake: (_world, replica) => replica.wake(),
  disconnect: (world, replica) => disconnect(world, replica),
  connect: (world, replica) => connect(world, replica),
  rejoin: (world, replica, x) => rejoin(world, replica, x),
  crash: (world, replica, x) => {
    if (crash(world, replica, x % 2 === 1)) later(world, x, () => open(world, replica))
  },
  close: async (world, replica, x) => {
    if (!replica.ws) return
    await replica.close()
    later(world, x, () => open(world, replica))
  },
  failCommit: (_world, replica, x) => failCommits(replica, 1 + (x % 3)),
  failDisk: (world, _replica, x) => world.relay.failDisk(1 + (x % 2)),
  whenStored: (world, replica) => world.whenStored(replica),
  whenSynced: (world, replica) => world.whenSynced(replica),
  crashRelay: (world, _replica, x) => crashRelay(world, x),
  backUpRelay: (world) => world.relay.backUp(),
  restoreRelay: (world, _replica, x) => restoreRelay(world, x),
  harmRelay: (world, _replica, x) => harmRelay(world, (file, path) => somewhere(x * 7919, file.length, path)),
  backUpDevice: (_world, replica) => backUpDevice(replica),
  restoreDevice: (world, replica) => restoreDevice(world, replica),
  ambush: async (world, replica, x) => {
    await layAmbush(world, replica, x)
    await race(world, replica, x)
  },
  account: (world, replica, x) => {
    world.edit(replica, "both", entityOf(world, x >> 3))
    switchAccount(world, replica, x)
  },
  access: (world, replica, x) => {
    world.edit(replica, "both", entityOf(world, x >> 4))
    const toldIn = (bit: number) => (x & bit ? "notice" : "entries")
    if (replica.access === "write") changeAccess(world, replica, toldIn(4))
    later(world, x, () => {
      if (replica.access === "read") changeAccess(world, replica, toldIn(8))
    })
  },
  harmDevice: (world, replica) => harmDevice(world, replica),
  update: (world, replica) => update(world, replica),
  failTokens: (world, replica, x) => failTokens(world, replica, x),
  newer: (world, replica, x) => {
    replica.newer.next = 1 + (x % 2)
    return push(world, replica)
  },
  failReads: (_world, replica, x) => replica.device.failReads([300, 2000, 10_000, 40_000][x % 4]!),
  cloneDevice: (world, replica, x) => cloneDevice(world, replica, world.replicas[x % world.replicas.length]!),
}

/**
 * Most edits are of the first three entities, and three in five of these are of the first one, so that edits meet. If
 * there are more entities, every second edit is of any entity.
 */
function entityOf({ entities }: World, y: number): string {
  if (entities.length <= FEW) return entities[OFTEN[y % OFTEN.length]!]!
  return entities[y % 2 ? OFTEN[(y >> 1) % OFTEN.length]! : (y >> 1) % entities.length]!
}
const OFTEN = [0, 0, 1, 0, 2] as const
const FEW = 3

const connectionOf = (world: World, replica: Replica) => world.network.of(replica.name).at(-1)

/**
 * An offset in a file of the relay. The empty bytes between a segment's header and the copy of the header are left out,
 * because they are most of a small segment.
 */
function somewhere(x: number, length: number, path: string): number {
  if (!path.endsWith(".log")) return x % length
  const at = x % (length - ROOM)
  return at < COPY ? at : at + ROOM
}
const ROOM = HEADER_BYTES - 2 * COPY

/** Two replicas write to one entity in turn. */
async function race(world: World, replica: Replica, x: number): Promise<void> {
  const entity = entityOf(world, x >> 3)
  const others = world.replicas.filter((other) => other !== replica)
  const two = [others[(x >> 5) % others.length]!, replica]
  for (let i = 0; i < 4 + (x % 4); i++) {
    world.edit(two[i % 2]!, EDITS[(x + i) % 4]!, entity)
    await world.pass(x % 40)
  }
}

/** One replica writes to several entities in one turn of the scheduler. */
function burst(world: World, replica: Replica, x: number): void {
  for (let i = 0; i < 3 + (x % 3); i++) world.edit(replica, "both", entityOf(world, (x >> 2) + 2 * i))
}

/**
 * Makes the replica's connection a zombie. In two of three cases a push is on its way. The relay receives it 5 or 20 s
 * late, when the device may long have connected again.
 */
async function becomeZombie(world: World, replica: Replica, x: number): Promise<void> {
  const connection = connectionOf(world, replica)
  if (x % 3) await push(world, replica)
  connection?.zombie([0, 5000, 20_000][x % 3])
}

/**
 * The replica disconnects with a push on its way, edits, and connects again. On a shared connection the socket stays
 * open meanwhile.
 */
async function rejoin(world: World, replica: Replica, x: number): Promise<void> {
  await push(world, replica)
  replica.writeHome()
  disconnect(world, replica)
  world.edit(replica, "splice", world.entities[0]!)
  world.scheduler.after([0, 0, 50, 2000][x % 4]!, "rejoin", () => connect(world, replica))
}

/** The replica edits, and waits until the push of that edit is on its way. */
async function push(world: World, replica: Replica): Promise<void> {
  const connection = connectionOf(world, replica)
  world.edit(replica, "splice", world.entities[0]!)
  for (let i = 0; i < 30 && connection?.up.length === 0; i++) await world.steps(1)
}

/** Calls `f` at once, soon, or after up to 90 s; `x` chooses. */
const later = (world: World, x: number, f: () => void): void => {
  world.scheduler.after([0, 50, 2000, 90_000][x % 4]!, "reopen", f)
}

/**
 * One run: its weights, speeds and number of replicas, and 10 to 40 commands with troubles and changes of access
 * between them.
 */
export const runs: fc.Arbitrary<Run> = fc
  .record({
    seed: fc.nat(2 ** 31 - 1),
    replicas: fc.integer({ min: 2, max: 5 }),
    duplicates: fc.constantFrom(0, 0.1, 0.5),
    principals: fc.boolean(),
    shared: fc.boolean(),
    segment: fc.constantFrom(2, 3, 3, 8, 20_000),
    tiny: fc.boolean(),
    slow: fc.record({ store: scale(), network: scale(), disk: scale() }),
    weights: fc.tuple(...Object.entries(WEIGHTS).map(([op, weight]) => weightOf(op as Op, weight))),
  })
  .map((setup) => fc.noShrink(fc.constant(setup)))
  .chain((setup) => setup)
  .chain(({ slow, weights, tiny, ...setup }) => {
    const speeds = {
      store: slowed(usualSpeeds.store, slow.store),
      network: slowed(usualSpeeds.network, slow.network),
      disk: slowed(usualSpeeds.disk, slow.disk),
    }
    const options: WorldOptions = { ...setup, speeds, ...(tiny && { tiny, entities: 12 }) }
    return fc
      .array(commandOf(weights), { minLength: 10, maxLength: 40, size: "max" })
      .map((commands) => ({ options, commands }))
  })
  .chain(({ options, commands }) =>
    fc
      .tuple(
        fc.oneof(fc.constant([]), fc.array(amongOthers(TROUBLES), { minLength: 1, maxLength: 12, size: "max" })),
        fc.constantFrom(undefined, undefined, undefined, undefined, 1, 0.1),
        fc.oneof(
          fc.constant([]),
          fc.constant([]),
          fc.array(amongOthers(RIGHTS), { minLength: 1, maxLength: 6, size: "max" }),
        ),
      )
      .map(([troubles, bytesPerMs, rights]) => ({
        options: bytesPerMs === undefined ? options : { ...options, bytesPerMs },
        commands: mixed(mixed(commands, troubles), rights),
      })),
  )

interface Placed {
  readonly command: Command
  /** Its place among the other commands, in percent of them. */
  readonly at: number
}

function amongOthers(ops: typeof TROUBLES | typeof RIGHTS): fc.Arbitrary<Placed> {
  const weights = Object.entries(ops).map(([op, weight]) => [op as Op, weight * 10] as const)
  return fc.record({ command: commandOf(weights), at: fc.noBias(fc.nat(99)) })
}

function mixed(commands: readonly Command[], placed: readonly Placed[]): Command[] {
  const all = [...commands]
  for (const { command, at } of placed) all.splice(Math.floor((at / 100) * all.length), 0, command)
  return all
}

function scale(): fc.Arbitrary<number> {
  return fc.constantFrom(0.3, 1, 1, 5)
}

const slowed = ({ usual, worst }: { usual: number; worst: number }, by: number) => ({
  usual: usual * by,
  worst: worst * by,
})

/** The weight of a command in one run: 0, the usual one, or three times that. Edits are in every run. */
function weightOf(op: Op, usual: number): fc.Arbitrary<readonly [Op, number]> {
  const factor = op === "edit" ? fc.constantFrom(0.5, 1, 2) : fc.constantFrom(0, 1, 1, 3)
  return factor.map((by) => [op, usual * by * 10] as const)
}

function commandOf(weights: readonly (readonly [Op, number])[]): fc.Arbitrary<Command> {
  return fc.record({
    op: fc.oneof(...weights.map(([op, weight]) => ({ weight: Math.round(weight), arbitrary: fc.constant(op) }))),
    replica: fc.nat(4),
    x: fc.nat(1023),
    gap: fc.oneof(
      { weight: 3, arbitrary: fc.record({ events: fc.nat(3) }) },
      { weight: 5, arbitrary: fc.record({ events: fc.nat(30) }) },
      { weight: 3, arbitrary: fc.record({ ms: fc.nat(300) }) },
      { weight: 2, arbitrary: fc.record({ ms: fc.integer({ min: 1000, max: 8000 }) }) },
      { weight: 1, arbitrary: fc.record({ ms: fc.constant(90_000) }) },
    ),
  })
}
