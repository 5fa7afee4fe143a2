import { checkStore, codeOf, equal, fails, randomSteps } from "./model.ts"
import type { Expect, Key, Store, Value, Write } from "./store.ts"

/** A store to test, over a disk of its own. */
export interface StoreFixture {
  readonly store: Store
  /** Makes another store object over the same disk, as the next process would. */
  reopen(): Promise<Store>
  /** Removes everything from the disk. */
  destroy(): Promise<void>
  /**
   * Damages the value of a key so that the store cannot decode it. Called while no workspace is claimed. Absent when
   * the store decodes nothing, because it keeps values as they are.
   */
  harm?(key: Key): Promise<void>
}

/** A test runner: `{ test }` of vitest, of node:test, or of another runner with such a function. */
export interface Runner {
  test(name: string, run: () => Promise<void>): void
}

/**
 * The conformance suite of the `Store` contract: registers one test for each rule of the contract. `make` is called for
 * every test.
 *
 * The suite runs in one process. So it cannot test that a commit survives `kill -9` and a power cut, nor that the store
 * refuses another process.
 */
export function storeConformance(name: string, make: () => Promise<StoreFixture>, runner: Runner): void {
  const line = (sentence: string, body: (store: Store, fixture: StoreFixture) => Promise<void>) =>
    runner.test(`${name} ${sentence}`, async () => {
      const fixture = await make()
      try {
        await body(fixture.store, fixture)
      } finally {
        await fixture.destroy()
      }
    })

  const open = (sentence: string, body: (store: Store) => Promise<void>) =>
    line(sentence, async (store) => {
      const release = await store.claim("w")
      try {
        await body(store)
      } finally {
        await release()
      }
    })

  open("is empty at first", async (store) => {
    equal(await store.get(["w", "a"]), undefined)
    equal(await store.list(["w"]), [])
    equal(await store.list([]), [])
  })

  open("gives back text as the same text and bytes as the same bytes", async (store) => {
    const buffer = Uint8Array.from({ length: 300 }, (_, i) => i)
    const values: Value[] = [
      "",
      "a",
      "\u0000\u0001\ufeffé\u{1f30a}日本",
      new Uint8Array(),
      buffer,
      buffer.subarray(7, 9),
    ]
    await store.commit(values.map((value, i) => [["w", `${i}`], value]))
    for (const [i, value] of values.entries()) equal(await store.get(["w", `${i}`]), value)
    equal(
      await store.list(["w"]),
      values.map((value, i) => [["w", `${i}`], value]),
    )
  })

  open("copies bytes on the way in and on the way out", async (store) => {
    const mine = Uint8Array.of(1, 2, 3)
    const key = ["w", "a"]
    const writes: Write[] = [[key, mine]]
    const committed = store.commit(writes)
    mine.fill(9)
    key[1] = "b"
    await committed
    const read = await store.get(["w", "a"])
    equal(read, Uint8Array.of(1, 2, 3))
    if (read instanceof Uint8Array) read.fill(8)
    const listed = await store.list(["w"])
    equal(listed, [[["w", "a"], Uint8Array.of(1, 2, 3)]])
    for (const [, value] of listed) if (value instanceof Uint8Array) value.fill(7)
    equal(await store.get(["w", "a"]), Uint8Array.of(1, 2, 3))
  })

  open("lists in the order of IndexedDB's array keys", async (store) => {
    const keys = [["a"], ["a", " "], ["a", "b"], ["a", "b", "c"], ["a", "b!"], ["a", "ba"], ["a "], ["a!", "b"], ["a~"]]
    keys.push(["b", "B"], ["b", "b"], ["b", "b", "~"], ["b", "~".repeat(256)], ["~"])
    await store.commit(keys.map((key, i): Write => [key, `${i}`]).reverse())
    equal(
      (await store.list([])).map(([key]) => key),
      keys,
    )
  })

  open("lists the keys whose first parts are the prefix, but not the prefix itself", async (store) => {
    const keys = [["a"], ["a", "1"], ["a", "1", "x"], ["a", "2"], ["a b", "1"], ["ab"], ["ab", "1"], ["b", "1"]]
    await store.commit(keys.map((key) => [key, "v"]))
    const listed = async (prefix: Key) => (await store.list(prefix)).map(([key]) => key)
    equal(await listed(["a"]), keys.slice(1, 4))
    equal(await listed(["a", "1"]), [["a", "1", "x"]])
    equal(await listed(["ab"]), [["ab", "1"]])
    equal(await listed(["c"]), [])
  })

  open("lists what follows a key, whether or not that key exists, up to a limit", async (store) => {
    const keys = Array.from({ length: 10 }, (_, i) => ["w", `${i}`])
    await store.commit([...keys, ["v", "x"], ["x", "y"]].map((key) => [key, "v"]))
    const listed = async (options: { after?: Key; limit?: number }) =>
      (await store.list(["w"], options)).map(([key]) => key)
    equal(await listed({ after: ["w", "4"] }), keys.slice(5))
    equal(await listed({ after: ["w", "44"] }), keys.slice(5))
    equal(await listed({ after: ["w", "4"], limit: 2 }), keys.slice(5, 7))
    equal(await listed({ limit: 3 }), keys.slice(0, 3))
    equal(await listed({ limit: 0 }), [])
    equal(await listed({ after: ["w", "9"] }), [])
    for (const before of [["v", "x"], ["w"], ["a"]]) equal(await listed({ after: before }), keys)
    for (const beyond of [["x", "y"], ["w ", "a"], ["x"]]) equal(await listed({ after: beyond }), [])
  })

  open("deletes keys, and ignores the deletion of a key that does not exist", async (store) => {
    await store.commit([
      [["w", "a"], "1"],
      [["w", "b"], "2"],
    ])
    await store.commit([
      [["w", "a"], undefined],
      [["w", "c"], undefined],
    ])
    equal(await store.get(["w", "a"]), undefined)
    equal(await store.list(["w"]), [[["w", "b"], "2"]])
  })

  open("keeps the later of two writes to one key", async (store) => {
    await store.commit([
      [["w", "a"], "1"],
      [["w", "b"], "1"],
      [["w", "c"], undefined],
      [["w", "a"], "2"],
      [["w", "b"], undefined],
      [["w", "c"], "2"],
    ])
    equal(await store.list(["w"]), [
      [["w", "a"], "2"],
      [["w", "c"], "2"],
    ])
  })

  open("writes nothing of a batch with a key or a value that cannot be stored", async (store) => {
    await store.commit([[["w", "a"], "old"]])
    const values = [1, null, true, { a: 1 }, [1], new Date(0), () => 1, new ArrayBuffer(1), new Uint16Array(1)]
    const keys = [
      [],
      [""],
      ["w", ""],
      ["w", "x".repeat(257)],
      ["w", "\u001f"],
      ["w", "\u007f"],
      ["w", "é"],
      ["w", 1],
      "w",
    ]
    const bad: unknown[] = [...values.map((value) => [["w", "x"], value]), ...keys.map((key) => [key, "v"])]
    for (const write of bad) {
      await fails("STORE_FAILED", () => store.commit([[["w", "a"], "new"], write as Write, [["w", "z"], "new"]]))
      equal(await store.list([]), [[["w", "a"], "old"]])
    }
    await store.commit([[["w", "x".repeat(256)], "fits"]])
  })

  open("writes only if every expectation holds", async (store) => {
    const [a, b, fresh] = [
      ["w", "text"],
      ["w", "bytes"],
      ["w", "fresh"],
    ] as const
    await store.commit([
      [a, "A"],
      [b, Uint8Array.of(65)],
    ])
    const wrong: Expect[][] = [[[a, undefined]], [[a, "B"]], [[a, ""]], [[a, Uint8Array.of(65)]], [[b, undefined]]]
    wrong.push([[b, Uint8Array.of(66)]], [[b, Uint8Array.of(65, 65)]], [[b, "A"]], [[fresh, "A"]])
    wrong.push([
      [a, "A"],
      [b, Uint8Array.of(65)],
      [fresh, new Uint8Array()],
    ])
    for (const expect of wrong) {
      await fails("STORE_MOVED", () =>
        store.commit(
          [
            [fresh, "x"],
            [a, undefined],
          ],
          { expect },
        ),
      )
      await fails("STORE_MOVED", () => store.commit([], { expect }))
    }
    equal(await store.get(fresh), undefined)
    equal(await store.get(a), "A")
    await store.commit(
      [
        [fresh, "x"],
        [a, undefined],
      ],
      {
        expect: [
          [a, "A"],
          [b, Uint8Array.of(65)],
          [fresh, undefined],
        ],
      },
    )
    equal(await store.get(fresh), "x")
    equal(await store.get(a), undefined)
  })

  open("lets commits take effect in the order of their calls", async (store) => {
    const n = 40
    const steps = Array.from({ length: n }, (_, i) =>
      store.commit([[["w", "n"], `${i}`]], { expect: [[["w", "n"], i === 0 ? undefined : `${i - 1}`]] }),
    )
    await Promise.all(steps)
    const plain = Array.from({ length: n }, (_, i) =>
      store.commit([
        [["w", "n"], `${i}`],
        [["w", `n${i}`], "x"],
      ]),
    )
    await Promise.all(plain)
    equal(await store.get(["w", "n"]), `${n - 1}`)
    equal((await store.list(["w"])).length, n + 1)
  })

  open("lets only the first of several commits with the same expectation succeed", async (store) => {
    const tries = Array.from({ length: 10 }, (_, i) =>
      store.commit([[["w", "a"], `${i}`]], { expect: [[["w", "a"], undefined]] }),
    )
    const [first, ...others] = await Promise.allSettled(tries)
    equal(first?.status, "fulfilled")
    for (const other of others) equal(codeOf(other), "STORE_MOVED")
    equal(await store.get(["w", "a"]), "0")
  })

  open("commits after a commit that failed", async (store) => {
    const failed = store.commit([[["w", "a"], "1"]], { expect: [[["w", "b"], "?"]] })
    const next = store.commit([[["w", "a"], "2"]])
    await fails("STORE_MOVED", () => failed)
    await next
    equal(await store.get(["w", "a"]), "2")
  })

  open("lists the entries of one moment while commits are under way", async (store) => {
    const keys = Array.from({ length: 50 }, (_, i) => ["w", `${i}`])
    const generations = Array.from({ length: 20 }, (_, g) => store.commit(keys.map((key) => [key, `${g}`])))
    const lists: Promise<[Key, Value][]>[] = []
    for (const generation of generations) {
      lists.push(store.list(["w"]))
      await generation
      lists.push(store.list(["w"]))
    }
    for (const list of await Promise.all(lists)) equal(new Set(list.map(([, value]) => value)).size <= 1, true)
    equal((await lists.at(-1))?.length, keys.length)
  })

  open("keeps values of 5 MB", async (store) => {
    const text = "0123456789abcdé\n".repeat(5 * 2 ** 16)
    const bytes = new Uint8Array(5 * 2 ** 20).map((_, i) => i * 7)
    await store.commit([
      [["w", "text"], text],
      [["w", "bytes"], bytes],
    ])
    equal((await store.get(["w", "text"])) === text, true)
    equal(await store.get(["w", "bytes"]), bytes)
  })

  open("gives the same answers as a sorted map", async (store) => {
    for (let seed = 1; seed <= 5; seed++) {
      await checkStore(store, randomSteps(seed))
      await store.commit((await store.list([])).map(([key]) => [key, undefined]))
    }
  })

  line("refuses every call while no workspace is claimed", async (store) => {
    const calls = [() => store.get(["w"]), () => store.list([]), () => store.commit([[["w", "a"], "1"]])]
    for (const call of calls) await fails("CLOSED", call)
    const release = await store.claim("w")
    await release()
    for (const call of calls) await fails("CLOSED", call)
  })

  line("lets one claimant at a time have a workspace, and the next after the release", async (store, { reopen }) => {
    const other = await reopen()
    const [v, w] = await Promise.all([store.claim("v"), store.claim("w")])
    await fails("STORE_IN_USE", () => store.claim("w"))
    await fails("STORE_IN_USE", () => other.claim("w"))
    await w()
    const again = await store.claim("w")
    await w()
    await fails("STORE_IN_USE", () => store.claim("w"))
    await v()
    await store.commit([[["w", "a"], "1"]])
    await again()
    await fails("CLOSED", () => store.get(["w", "a"]))
    const next = await other.claim("w")
    equal(await other.get(["w", "a"]), "1")
    await next()
  })

  line("reads a value that it cannot decode as no bytes, and the other values as they are", async (store, fixture) => {
    if (fixture.harm === undefined) return
    const a = ["w", "a"]
    const b = ["w", "b"]
    const c = ["w", "c"]
    const first = await store.claim("w")
    await store.commit([a, b, c].map((key) => [key, "text"]))
    await first()
    await fixture.harm(b)
    const next = await fixture.reopen()
    const release = await next.claim("w")
    const none = new Uint8Array()
    equal(await next.get(b), none)
    equal(await next.list(["w"]), [
      [a, "text"],
      [b, none],
      [c, "text"],
    ])
    await fails("STORE_MOVED", () => next.commit([], { expect: [[b, "text"]] }))
    await next.commit([[b, "again"]], { expect: [[b, none]] })
    equal(await next.get(b), "again")
    await release()
  })

  line("makes a claim wait for the release that was called before it", async (store) => {
    for (let i = 0; i < 5; i++) {
      const release = await store.claim("w")
      const [, next] = await Promise.all([release(), store.claim("w"), release()])
      await store.commit([[["w", "a"], `${i}`]])
      await next()
    }
  })

  line("finishes the operations that were called before the last release", async (store, { reopen }) => {
    const release = await store.claim("w")
    const rows = Array.from({ length: 30 }, (_, i): [Key, Value] => [["w", `${i + 10}`], "x"])
    const commits = rows.map((row) => store.commit([row]))
    const reads = [store.list(["w"]), store.get(["w", "10"])]
    await Promise.all([release(), ...commits, ...reads])
    const next = await reopen()
    const releaseNext = await next.claim("w")
    equal(await next.list(["w"]), rows)
    await releaseNext()
  })

  line("gives the same answers as a sorted map, closed and opened again in between", async (store, { reopen }) => {
    for (let seed = 10; seed <= 12; seed++) {
      const release = await store.claim("w")
      await checkStore(store, randomSteps(seed, ["w", `${seed}`]), { release, reopen })
      store = await reopen()
    }
  })
}
