/**
 * Rules of the protocol, each with a schedule in which a promise breaks without the rule. Random runs of a model of the
 * protocol found the schedules. Here they are played frame by frame on the real code. `without`: edits that take the
 * rule out of the sources.
 */
import type { Sizes } from "../../src/base/replica-sizes.ts"
import type { SourceEdit } from "./plant-bug.ts"
import { Stage } from "./world/stage.ts"

export interface Scenario {
  readonly rule: string
  readonly replicas?: number
  /** Entries after which the relay's log begins a new segment. */
  readonly segment?: number
  /** Whether the relay sees a principal of its own for each replica. */
  readonly principals?: boolean
  /** Sizes of the library that are small enough for this short schedule to reach its situation. */
  readonly sizes?: Partial<Sizes>
  readonly without: readonly SourceEdit[]
  /**
   * Matches the failure when the rule is taken out. Any other failure, such as a crash, would not prove that the rule
   * is needed.
   */
  readonly breaks: RegExp
  play(stage: Stage): Promise<void>
}

export const scenarios: Readonly<Record<string, Scenario>> = {
  reach: {
    rule: "a pull carries the furthest place learned of beside the cursor, and the relay must match both",
    without: [
      {
        file: "src/sync/attempt.ts",
        replace: "const further = reach !== cursor && { reach: placeOf(reach) }",
        by: "const further = {}",
      },
    ],
    breaks: /^diverged: only r2 has e0/,
    sizes: { firstCredit: 300, leastCredit: 150, credit: 600 },
    async play(s) {
      for (let i = 0; i < 6; i++) {
        await s.edit(1, `e${1 + i}`)
        await s.sync(1)
      }
      s.backUp()
      // The log is larger than r2's credit. Before the rest of it comes, r2's own change is acknowledged.
      await s.edit(2)
      await s.connect(2)
      await s.up(2)
      await s.down(2, 2)
      await s.up(2, 2)
      await s.flush()
      await s.down(2, 3)
      s.expect("the ack is saved and the cursor is not", s.reachIsAhead(2))
      await s.crash(2)
      await s.restore(0)
      await s.open(2)
    },
  },

  depsHeal: {
    rule: "DEPS_UNKNOWN: have and want for that entity, what is wanted first, then the same change again",
    without: [
      {
        file: "src/sync/attempt.ts",
        replace: `if (code === "DEPS_UNKNOWN" || code === "SEQ_GAP") {`,
        by: `if (code === "SEQ_GAP") {`,
      },
    ],
    segment: 2,
    breaks: /^refused for good: .*"code":"DEPS_UNKNOWN"/,
    async play(s) {
      for (const entity of ["e0", "e1", "e2", "e3", "e4"]) {
        await s.edit(1, entity)
        await s.sync(1)
      }
      // The damage is in a segment that the relay reads only when a pull needs it. r2's pull does, while r1 is
      // connected.
      await s.damage("e0")
      await s.sync(1)
      await s.connect(2)
      await s.edit(1, "e0")
      await s.up(2)
      await s.flush()
      await s.up(1)
      await s.flush()
    },
  },

  durableHeal: {
    rule: "what the relay wants becomes outbox records no later than the commit that takes the new cursor",
    without: [
      {
        file: "src/replica/exchange/have-and-want.ts",
        replace: "for (const change of lacking) replica.authorship.giveBack(entity, change, tx)",
        by: `for (const { hash, startOp, chunk } of lacking) {
    const owed = { entity, hash, startOp, bytes: chunk.length, how: "own", principal: null, fields: [] } as const
    if (tx.owed(entity, hash) === undefined) replica.outbox.plan(new Map([[hash, { owed, removed: false }]])).done()
  }`,
      },
    ],
    breaks: /^diverged: only r2 has e0/,
    async play(s) {
      s.backUp()
      await s.edit(2)
      await s.sync(2)
      await s.restore(0)
      await s.connect(2)
      await s.up(2)
      await s.down(2)
      s.expect("the heal has begun", s.heals(2))
      await s.up(2)
      await s.down(2, 9)
      await s.pause()
      s.expect("the heal has ended", !s.heals(2))
      await s.crash(2)
    },
  },

  healFlushed: {
    rule: "have and want are computed on the flushed log only",
    without: [
      {
        file: "relay/serve/answer-have.ts",
        replace: "const flushed = await log.flushed(log.appended)",
        by: "const flushed = log.end",
      },
    ],
    breaks: /^diverged: only r2 has e0/,
    async play(s) {
      s.backUp()
      await s.edit(0)
      await s.sync(0)
      await s.sync(1)
      await s.sync(2)
      await s.restore(0)
      await s.connect(1)
      await s.up(1)
      await s.down(1)
      await s.up(1)
      await s.down(1, 3)
      await s.up(1)
      await s.connect(2)
      await s.up(2)
      await s.down(2)
      await s.up(2)
      await s.down(2, 3)
      await s.crashRelay()
      await s.die(1)
      await s.die(0)
    },
  },

  closed: {
    rule: "adopt neither binds nor closes an actor, and ACTOR_BOUND pushes the same changes again as adopted ones",
    principals: true,
    without: [
      { file: "relay/serve/admit-entry.ts", replace: "derived || by.adopt)", by: "derived)" },
      {
        file: "relay/serve/append-push.ts",
        replace: "by: (by.adopt && entry.by) || by.principal,",
        by: "by: by.principal,",
      },
      {
        file: "src/sync/attempt.ts",
        replace: `} else if (code === "ACTOR_BOUND") {`,
        by: `} else if (code === "QUOTA") {`,
      },
    ],
    breaks: /^refused for good: .*"code":"ACTOR_BOUND"/,
    async play(s) {
      s.backUp()
      await s.edit(0)
      await s.sync(0)
      await s.sync(1)
      await s.restore(0)
      await s.sync(1)
      await s.edit(0)
    },
  },

  ownByConn: {
    rule: "own entries come as runs only on the connection that appended them",
    without: [
      {
        file: "relay/serve/stream.ts",
        replace: `!("connection" in entry) || entry.connection !== this.#outlet.id`,
        by: `!("connection" in entry)`,
      },
    ],
    breaks: /^cursor ahead of its entries: \S+ at \S+ lacks e0/,
    async play(s) {
      await s.sync(2)
      s.backUpDevice(2)
      await s.edit(2)
      await s.sync(2)
      await s.sync(1)
      await s.restoreDevice(2)
    },
  },

  outboxPrincipal: {
    rule: "outbox records carry their principal, and are never pushed as another one's",
    principals: true,
    without: [
      {
        file: "src/replica/disk/outbox-principal.ts",
        replace: `return owed.how === "adopt" || state.principal === null || principalOf`,
        by: "return true || principalOf",
      },
    ],
    breaks: /^wrong author: e0 \S+ of r2 was taken as somebody else's/,
    async play(s) {
      await s.sync(2)
      await s.cut(2)
      await s.edit(2)
      await s.account(2, "somebody else")
      await s.sync(2)
      await s.edit(2, "e1")
      await s.sync(2)
      await s.account(2, "r2")
      await s.sync(2)
    },
  },

  healMark: {
    rule: "CURSOR_UNKNOWN is saved as a mark before anything later on the connection is handled; the new cursor clears it",
    without: [
      {
        file: "src/replica/exchange/have-and-want.ts",
        replace: "if (!tx.state.heal) tx.state = { ...tx.state, heal: true }",
        by: "if (!tx.state.heal) tx.state = { ...tx.state }",
      },
    ],
    sizes: { firstCredit: 300, leastCredit: 300, credit: 300 },
    breaks: /^diverged: only r1 has e1/,
    async play(s) {
      s.backUp()
      await s.edit(1)
      await s.sync(1)
      s.backUp()
      await s.cut(1)
      await s.edit(1, "e1")
      await s.restore(0)
      for (let i = 0; i < 4; i++) {
        await s.edit(2, "e2")
        await s.sync(2)
      }
      // The relay has another log now, so r1 must heal, and the answer is larger than r1's credit. Before the rest of
      // the answer comes, r1's own change is acknowledged. Then the log to which r1's cursor belongs is put back.
      await s.connect(1)
      await s.up(1)
      await s.down(1)
      await s.up(1)
      await s.down(1, 2)
      await s.up(1)
      await s.flush()
      await s.down(1, 9)
      s.expect("the new entity is acknowledged in the middle of the heal", s.pending(1) === 0)
      await s.restore(1)
    },
  },

  firstPage: {
    rule: "the cursor after a heal is the place at which the first page of have was compared",
    sizes: { haveBytes: 1 },
    without: [
      {
        file: "relay/serve/stream.ts",
        replace: "return this.#heal.marks",
        by: "return (this.#heal = { ...this.#heal, until: comparedAt }).marks",
      },
    ],
    breaks: /^cursor ahead of its entries: r0 at \S+ lacks e0/,
    async play(s) {
      await s.edit(0, "e0")
      await s.edit(0, "e1")
      await s.sync(0)
      await s.sync(1)
      s.backUp()
      await s.edit(0, "e1")
      await s.sync(0)
      await s.restore(0)
      await s.connect(0)
      await s.up(0)
      await s.down(0)
      await s.up(0)
      s.expect("the heal has begun", s.heals(0))
      await s.edit(1, "e0")
      await s.sync(1)
      await s.up(0, 2)
      await s.flush()
      await s.down(0, 9)
      await s.pause()
      s.expect("the heal has ended", !s.heals(0))
    },
  },
}

/** Schedules of the model that cannot be played yet, and why. */
export const notYet: Readonly<Record<string, string>> = {
  codeClasses: "needs re-author, for the changes that depend on a change refused for its content",
  rewrite: "needs re-author",
  logWins: "needs re-author, for own changes that clash with logged ones",
  ownByHash: "needs a forger, and re-author for what the forger takes",
  rejectFlushed: "needs a purge",
  tombHeal: "needs a purge",
  tombInPlace: "needs a purge",
  purgeFlushed: "needs a purge",
  snapFirst_log: "needs snapshots",
  snapFirst_ring: "needs snapshots",
  startMoves: "needs snapshots",
}

/** Plays a schedule to its end. Rejects when a promise is broken. */
export async function playScenario(name: string): Promise<void> {
  const scenario = scenarios[name]
  if (!scenario) throw new Error(`no schedule is called ${name}`)
  const { replicas = 3, principals = false, segment = 20_000, sizes = {} } = scenario
  const stage = new Stage({ replicas, principals, segment, sizes })
  await stage.start()
  try {
    await scenario.play(stage)
    await stage.settle()
  } finally {
    await stage.world.end()
  }
}
