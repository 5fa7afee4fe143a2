import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { expect, test } from "vitest"
import { systemClock } from "../../src/base/env.ts"
import { genesisOf } from "../../src/document/derived-changes.ts"
import { Authorship } from "../../src/replica/authorship.ts"
import type { Transaction } from "../../src/replica/transaction.ts"

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

const CHANGES = 200_000
/** A set of the hashes of all changes would take 106 bytes for each change. */
const BYTES_PER_CHANGE = 10

test("a session that goes on editing a note needs no more memory to know which changes are its own", () => {
  const authorship = new Authorship(systemClock)
  const base = genesisOf("e", "notes")
  const saved = (seq: number) => {
    const hash = seq.toString(16).padStart(64, "0")
    const change = { ...base, hash, actor: authorship.actor, seq }
    authorship.follow({ minted: new Map([[hash, { entity: "e", change }]]) } as unknown as Transaction)
  }
  saved(1)
  collect()
  const before = process.memoryUsage().heapUsed
  for (let seq = 2; seq <= CHANGES; seq++) saved(seq)
  collect()
  expect((process.memoryUsage().heapUsed - before) / CHANGES).toBeLessThan(BYTES_PER_CHANGE)
  expect(authorship.isLacking("e", { seqOf: () => CHANGES - 1 } as never)).toBe(true)
  expect(authorship.isLacking("e", { seqOf: () => CHANGES } as never)).toBe(false)
})
