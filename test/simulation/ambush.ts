/**
 * Moments that schedules by chance seldom meet. An ambush waits for one and strikes there: what a rule protects is seen
 * only by those who break things in the moment that it is about.
 */

import type { Files } from "../support/disk.ts"
import { bodyAt } from "../support/logged-body.ts"
import { crash, crashRelay, harmRelay, open, putBack, wipeDevice } from "./world/mishaps.ts"
import { isOurs } from "./world/relay.ts"
import type { Replica } from "./world/replica.ts"
import type { World } from "./world/world.ts"

const kinds = {
  /**
   * An ack is saved, and its entry is not: the device dies, and the relay goes back to when the cursor was saved. It writes
   * something that nobody writes to again: what the relay lacks of other entities is missed by what rests on it.
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

  /** Several entries were written, and are not safe yet: the power goes, and does so again. */
  unsynced(world: World, replica: Replica, times = 5): void {
    let patience = 4
    world.relay.onSync = (entries) => {
      if (entries < 2 && patience-- > 0) return
      spring(world, replica, "unsynced", () => crashRelay(world, 0))
      if (times > 1) kinds.unsynced(world, replica, times - 1)
    }
  },

  /** A device has learned that it must heal: it dies, or the relay is replaced once more. */
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
   * What an entity begins with is damaged where the relay reads only when it is asked for it. A device without anything
   * asks, and while the log breaks everybody writes to that entity: the relay lacks what this rests on.
   */
  async unread(world: World, replica: Replica): Promise<void> {
    const live = () => replica.ws?.status.phase === "live"
    // The newest segment is read whenever the relay starts.
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
    if (oracle.devices.kept(newcomer.device).some((hash) => !rest.has(hash))) return // it has the last copy of something
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
