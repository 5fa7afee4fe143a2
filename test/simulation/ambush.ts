/**
 * Some rules of the protocol protect only at a moment that random schedules seldom meet. An ambush waits for that
 * moment and then does the harm against which the rule protects. Without ambushes a missing rule would not be noticed.
 */

import type { Files } from "../support/disk.ts"
import { bodyAt } from "../support/logged-body.ts"
import { crash, crashRelay, harmRelay, open, putBack, wipeDevice } from "./world/mishaps.ts"
import { isOurs } from "./world/relay.ts"
import type { Replica } from "./world/replica.ts"
import type { World } from "./world/world.ts"

const kinds = {
  /**
   * Waits until the device has saved the ack of a change, and not yet received its entry: its reach is ahead of its
   * cursor. Then the device crashes, and the relay's disk goes back to a copy from when reach and cursor were equal.
   * The change is one of an entity to which no other replica writes. Otherwise a later change of another replica would
   * depend on the lost change and reveal the loss.
   */
  acked(world: World, replica: Replica): void {
    world.edit(replica, "both", `alone-${replica.name}`)
    let copy: Files | undefined
    replica.onState = ({ cursor, reach }) => {
      if (reach === cursor) copy = world.relay.snapshot()
      else if (copy) {
        const older = copy
        spring(world, replica, "acked", async () => {
          crash(world, replica, false)
          await putBack(world, older)
        })
      }
    }
  },

  /**
   * Waits until the relay is about to flush two or more entries, or after four smaller flushes any entries. Then the
   * relay's power fails. Does this `times` times.
   */
  unsynced(world: World, replica: Replica, times = 5): void {
    let patience = 4
    world.relay.onSync = (entries) => {
      if (entries < 2 && patience-- > 0) return
      spring(world, replica, "unsynced", () => crashRelay(world, 0))
      if (times > 1) kinds.unsynced(world, replica, times - 1)
    }
  },

  /**
   * Puts the relay's oldest copy back, and waits until the device has saved that it must heal. Then the device crashes,
   * or the relay's disk is replaced once more.
   */
  async healing(world: World, replica: Replica): Promise<void> {
    const copy = world.relay.snapshot()
    replica.onState = ({ heal }) => {
      if (!heal) return
      spring(world, replica, "healing", async () => {
        if (world.relay.backups.length % 2) crash(world, replica, false)
        else await putBack(world, copy)
      })
    }
    await putBack(world, world.relay.backups[0] ?? new Map())
  },

  /**
   * Damages an entity's first change in a segment that the relay reads only when a pull needs it. Then empties another
   * device, whose pull needs it. When the relay finds the damage, all replicas write to that entity, so the relay lacks
   * a change on which these edits depend.
   */
  async unread(world: World, replica: Replica): Promise<void> {
    const live = () => replica.ws?.status.phase === "live"
    // The relay reads its newest segment at every start, so the damage must be in an older one.
    const segments = () =>
      [...world.relay.snapshot().keys()].filter((path) => isOurs(path) && path.endsWith(".log")).length
    for (let i = 0; i < 8 && segments() < 2; i++) {
      world.edit(replica, "splice", "e0")
      await world.pass(1000)
    }
    const begin = [...world.oracle.changes.values()].find(
      ({ deps, hash }) => !deps.length && world.oracle.relayHolds(hash),
    )
    const newcomer = world.replicas.find((other) => other !== replica)
    if (!begin || !newcomer || segments() < 2) return
    world.relay.onBreak = () =>
      spring(world, replica, "unread", async () => {
        for (const ms of [0, 20, 60, 150]) {
          world.scheduler.after(ms, "all write", () => {
            for (const one of world.replicas) world.edit(one, "splice", begin.entity)
          })
        }
      })
    await harmRelay(world, (file, path) => bodyAt(path, file, begin.hash) + 20)
    for (let s = 0; s < 60 && !live(); s++) await world.pass(1000)
    const { oracle } = world
    const rest = new Set(
      world.replicas.flatMap((other) => (other === newcomer ? [] : oracle.devices.kept(other.device))),
    )
    // Do not empty a device that alone has a change, because the relay's copy may be the damaged one.
    if (oracle.devices.kept(newcomer.device).some((hash) => !rest.has(hash))) return
    await wipeDevice(world, newcomer)
  },
}

const often = ["acked", "unsynced", "acked", "unread", "acked", "healing", "acked", "unsynced", "unread"] as const

export async function layAmbush(world: World, replica: Replica, x: number): Promise<void> {
  disarm(world, replica)
  await kinds[often[x % often.length]!](world, replica)
}

function spring(world: World, replica: Replica, kind: keyof typeof kinds, act: () => Promise<unknown>): void {
  disarm(world, replica)
  world.strike = async () => {
    world.seen[`${kind} ambushes`]++
    world.scheduler.note(`${replica.name} is ambushed, ${kind}`)
    await act()
    world.scheduler.after(2000, "reopen", () => open(world, replica))
  }
}

export function disarm(world: World, replica: Replica): void {
  replica.onState = () => {}
  world.relay.onSync = () => {}
  world.relay.onBreak = () => {}
}
