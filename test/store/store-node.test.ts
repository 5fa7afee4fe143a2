import { randomBytes } from "node:crypto"
import { mkdir, readdir, stat, symlink, writeFile } from "node:fs/promises"
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { ClassicLevel } from "classic-level"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { nodeStore } from "../../src/store/node.ts"
import { aroundWrites } from "../support/store/faults.ts"
import { newFolder, removeFolder } from "../support/store/fixtures.ts"
import { type Child, storeProcess } from "../support/store/process.ts"
import { ids } from "../support/store/rows.ts"

let folder: string
const children: Child[] = []

beforeEach(async () => {
  folder = await newFolder()
})

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.process.kill("SIGKILL")
    await child.ended
  }
  await removeFolder(folder)
})

async function run(what: string, limit?: string): Promise<Child> {
  const child = await storeProcess(what, folder, limit)
  children.push(child)
  return child
}

async function bytesIn(name: string): Promise<number> {
  const sizes = (await readdir(name)).map((file) =>
    stat(path.join(name, file)).then(
      ({ size }) => size,
      () => 0,
    ),
  )
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

const level = (name: string) => new ClassicLevel<string, Buffer>(name, { valueEncoding: "buffer" })

describe("nodeStore", () => {
  test("makes its folder and the folders above it", async () => {
    const inner = path.join(folder, "a", "b")
    const store = nodeStore(inner)
    expect(await readdir(folder)).toEqual([]) // nothing is made before the claim
    const release = await store.claim("w")
    expect((await stat(inner)).isDirectory()).toBe(true)
    await store.commit([[["w", "a"], "1"]])
    await release()
    expect(await readdir(path.join(folder, "a"))).toEqual(["b"])
    const next = nodeStore(inner)
    const releaseNext = await next.claim("w")
    expect(await next.list([])).toEqual([[["w", "a"], "1"]])
    await releaseNext()
  })

  test("gives the disk's error when the folder cannot be made, and can be tried again", async () => {
    const place = path.join(folder, "a")
    await writeFile(place, "")
    const store = nodeStore(path.join(place, "b"))
    await expect(store.claim("w")).rejects.toMatchObject({ code: "STORE_FAILED", cause: { code: "ENOTDIR" } })
    await removeFolder(place)
    await (await store.claim("w"))()
  })

  // Other systems have no /proc.
  test.runIf(process.platform === "linux")("gives the disk's error when no folder can be made there", async () => {
    const store = nodeStore("/proc/nowhere/a")
    await expect(store.claim("w")).rejects.toMatchObject({ code: "STORE_FAILED", cause: { code: "ENOENT" } })
  })

  test("fails with EEXIST when a file has the folder's name", async () => {
    const place = path.join(folder, "a")
    await writeFile(place, "")
    await expect(nodeStore(place).claim("w")).rejects.toMatchObject({ code: "STORE_FAILED", cause: { code: "EEXIST" } })
  })

  test("recognises its folder under another name", async () => {
    const [a, b] = [path.join(folder, "a"), path.join(folder, "b")]
    await mkdir(a)
    await symlink(a, b)
    const release = await nodeStore(a).claim("v")
    for (const name of [a, b, path.relative(process.cwd(), a)]) {
      await expect(nodeStore(name).claim("w")).rejects.toMatchObject({ code: "STORE_IN_USE" })
    }
    await release()
    await (await nodeStore(b).claim("w"))()
  })

  test("belongs to one process at a time, until that process is gone", async () => {
    const child = await run("hold")
    await child.lines.next()
    const store = nodeStore(folder)
    await expect(store.claim("v")).rejects.toMatchObject({ code: "STORE_IN_USE" })
    child.process.kill("SIGKILL")
    await child.ended
    await (await store.claim("v"))()
  })

  test("quotes the disk's error when it cannot be opened", async () => {
    const store = nodeStore(folder, (name) => {
      const cause = new Error("IO error: 000005.ldb: No space left on device")
      return Object.assign(level(name), { open: () => Promise.reject(new Error("Database failed to open", { cause })) })
    })
    const message = expect.stringMatching(/^STORE_FAILED: the store could not open: .*No space left on device$/)
    await expect(store.claim("w")).rejects.toMatchObject({ code: "STORE_FAILED", message })
  })

  test("does not go on when another process used the folder while it could not be opened again", async () => {
    const names: string[] = []
    let broken = false
    const store = nodeStore(folder, (name) => {
      names.push(name)
      const real = level(name)
      const { open } = real
      const spoil = async (): Promise<never> => {
        throw new Error("the disk is gone")
      }
      aroundWrites(real, (write) => (options) => (broken ? spoil() : write(options)))
      Object.assign(real, {
        open: (...args: unknown[]) => (broken ? spoil() : Reflect.apply(open, real, args)),
      })
      return real
    })
    const release = await store.claim("w")
    await store.commit([[["w", "a"], "1"]])
    broken = true
    await expect(store.commit([[["w", "a"], "2"]])).rejects.toMatchObject({ code: "STORE_FAILED" })
    await expect(store.get(["w", "a"])).rejects.toMatchObject({ code: "STORE_FAILED" })

    const other = nodeStore(folder)
    const releaseOther = await other.claim("w")
    await other.commit([[["w", "a"], "theirs"]])
    await releaseOther()

    broken = false
    await expect(store.get(["w", "a"])).rejects.toMatchObject({ code: "STORE_FAILED" })
    await expect(store.commit([[["w", "a"], "3"]])).rejects.toMatchObject({ code: "STORE_FAILED" })
    await release()
    const again = await store.claim("w")
    expect(await store.get(["w", "a"])).toBe("theirs")
    await again()
    expect(names.length).toBe(1)
  })

  test.each([
    { what: "is on the disk", written: true },
    { what: "is not on the disk", written: false },
  ])("compares with what is on the disk after a failed batch that $what", async ({ written }) => {
    let broken = false
    const store = nodeStore(folder, (name) => {
      const real = level(name)
      aroundWrites(real, (write) => async (options) => {
        if (!broken || written) await write(options)
        if (broken) throw new Error("no answer")
      })
      return real
    })
    const put = (value: string, expected?: string) =>
      store.commit([[["w", "a"], value]], { expect: [[["w", "a"], expected]] })
    const release = await store.claim("w")
    await put("1")
    broken = true
    const failing = put("2", "1")
    if (written) await failing
    else await expect(failing).rejects.toMatchObject({ code: "STORE_FAILED" })
    broken = false
    const there = written ? "2" : "1"
    await expect(put("3", written ? "1" : "2")).rejects.toMatchObject({ code: "STORE_MOVED" })
    await put("3", there)
    await release()

    const other = nodeStore(folder)
    const releaseOther = await other.claim("w")
    await other.commit([[["w", "a"], "theirs"]])
    await releaseOther()
    const again = await store.claim("w")
    await expect(put("4", "3")).rejects.toMatchObject({ code: "STORE_MOVED" })
    await put("4", "theirs")
    await again()
  })

  test("finds the values of more keys than it remembers", async () => {
    const store = nodeStore(folder)
    const release = await store.claim("w")
    for (const value of ["1", "2"])
      for (let i = 0; i < 70; i++) {
        const key = ["w", `${i}`]
        await store.commit([[key, value]], { expect: [[key, value === "1" ? undefined : "1"]] })
      }
    await release()
  })

  test("keeps the order of commits, however long each one takes", async () => {
    let delay = 10
    const store = nodeStore(folder, (name) => {
      const real = level(name)
      aroundWrites(real, (write) => async (options) => {
        await sleep(delay--)
        await write(options)
      })
      return real
    })
    const release = await store.claim("w")
    await Promise.all(Array.from({ length: 8 }, (_, i) => store.commit([[["w", "a"], `${i}`]])))
    expect(await store.get(["w", "a"])).toBe("7")
    await release()
  })

  test("returns Uint8Arrays and no Buffers, because the slice of a Buffer is no copy", async () => {
    const store = nodeStore(folder)
    const release = await store.claim("w")
    await store.commit([[["w", "a"], Buffer.from("abc")]])
    const [[, listed] = []] = await store.list(["w"])
    for (const value of [await store.get(["w", "a"]), listed]) {
      expect(Object.getPrototypeOf(value)).toBe(Uint8Array.prototype)
    }
    await release()
  })

  test("frees the space of overwritten records once nothing was written for a while, and loses nothing", async () => {
    const store = nodeStore(folder)
    const release = await store.claim("w")
    const valueIn = (round: number, i: number) => randomBytes(10_000).fill(`${round} ${i}`, 0, 8)
    for (let round = 0; round < 8; round++) {
      await store.commit(Array.from({ length: 100 }, (_, i) => [["w", `${i}`], new Uint8Array(valueIn(round, i))]))
      await store.look?.() // frees nothing yet, because something was written a moment ago
    }
    const full = await bytesIn(folder)
    await expect.poll(() => store.look?.().then(() => bytesIn(folder)), { timeout: 15_000 }).toBeLessThan(full / 2)
    await store.commit([[["w", "after"], "x"]])
    await release()
    const again = nodeStore(folder)
    const releaseAgain = await again.claim("w")
    const found = await again.list(["w"])
    expect(found.map(([key]) => key[1]).sort()).toEqual(
      [...Array.from({ length: 100 }, (_, i) => `${i}`), "after"].sort(),
    )
    for (const [[, i], value] of found)
      if (i !== "after")
        expect(Buffer.from(value as Uint8Array).subarray(0, 8)).toEqual(valueIn(7, Number(i)).subarray(0, 8))
    await releaseAgain()
  })

  test("frees the space of deleted records, also if few bytes were written since it last freed some", async () => {
    const store = nodeStore(folder)
    const release = await store.claim("w")
    const all = Array.from({ length: 20_000 }, (_, i) => ["w", `${i}`] as const)
    await store.commit(all.map((key) => [key, new Uint8Array(randomBytes(200))]))
    const isCompacted = () => store.look?.().then(async () => (await readdir(folder)).includes("compacted"))
    await expect.poll(isCompacted, { timeout: 15_000 }).toBe(true)
    const full = await bytesIn(folder)
    await store.commit(all.slice(4000).map((key) => [key, undefined]))
    await expect.poll(() => store.look?.().then(() => bytesIn(folder)), { timeout: 15_000 }).toBeLessThan(full / 2)
    expect(await store.list(["w"])).toHaveLength(4000)
    await release()
  })

  test("keeps only confirmed commits when the disk is full, and goes on when there is room", async () => {
    const child = await run("fill", "600")
    const said: { id: number; failed?: string; there: boolean }[] = []
    for await (const line of child.lines) said.push(JSON.parse(line))
    const failures = said.filter(({ failed }) => failed)
    expect(failures.map(({ failed }) => failed)).toEqual(["STORE_FAILED", "STORE_FAILED", "STORE_FAILED"])
    for (const { failed, there } of said) expect(there).toBe(!failed)
    // Commits succeeded between the failures.
    expect(said.length - (failures[0]?.id ?? 0)).toBeGreaterThan(6)

    const store = nodeStore(folder)
    const release = await store.claim("w")
    expect(await ids(store)).toEqual(said.filter(({ there }) => there).map(({ id }) => id))
    await release()
  })

  test("has every confirmed commit and no part of any other after kill -9", async () => {
    const kills = Number(process.env.HEADWATER_KILLS ?? (process.env.HEADWATER_LONG === "1" ? 20 : 1))
    let confirmed = -1
    for (let i = 0; i < kills; i++) {
      const child = await run("write")
      const until = confirmed + 20 + Math.floor(Math.random() * 300)
      for await (const line of child.lines) {
        confirmed = Math.max(confirmed, Number(line))
        if (confirmed >= until) child.process.kill("SIGKILL")
      }
      await child.ended

      const store = nodeStore(folder)
      const release = await store.claim("w")
      const found = await ids(store)
      expect(found).toEqual(found.map((_, id) => id))
      expect(found.length).toBeGreaterThan(confirmed)
      await release()
    }
  })
})
