import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { build } from "esbuild"
import { createRelay } from "headwater-relay"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const root = path.resolve(import.meta.dirname, "..")
const readme = readFileSync(path.join(root, "README.md"), "utf8")
const [, quickStart = ""] = /```ts\n([\s\S]*?)```/.exec(readme) ?? []
const folder = mkdtempSync(path.join(tmpdir(), "headwater-readme-"))
const run = promisify(execFile)

beforeAll(() => {
  symlinkSync(path.join(root, "node_modules"), path.join(folder, "node_modules"))
  writeFileSync(path.join(folder, "quick-start.ts"), quickStart)
  writeFileSync(path.join(folder, "package.json"), `{ "type": "module" }`)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("the README's quick start", () => {
  it("compiles in a strict app", async () => {
    const options = { extends: path.join(root, "tsconfig.json"), compilerOptions: { rootDir: "/" }, include: ["*.ts"] }
    writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify(options))
    const tsc = run(path.join(root, "node_modules/.bin/tsc"), ["-p", "."], { cwd: folder })
    expect(await tsc.then(({ stdout }) => stdout).catch(({ stdout }) => stdout)).toBe("")
  })

  it("runs, and what it writes is at the relay", async () => {
    const relay = await createRelay({ host: "127.0.0.1", port: 0, data: path.join(folder, "relay") })
    try {
      const told = quickStart.replace("ws://127.0.0.1:4400", relay.url)
      expect(told).not.toBe(quickStart)
      writeFileSync(path.join(folder, "quick-start.ts"), told)
      await bundle(path.join(folder, "quick-start.ts"))
      const { stdout } = await run(process.execPath, ["quick-start.js"], { cwd: folder, timeout: 30_000 })
      expect(stdout).toContain("Hello, world")
      writeFileSync(path.join(folder, "other.ts"), otherDevice(relay.url))
      await bundle(path.join(folder, "other.ts"))
      const other = await run(process.execPath, ["other.js"], { cwd: folder, timeout: 30_000 })
      expect(other.stdout.trim()).toBe("Hello, world: hello world")
    } finally {
      await relay.close()
    }
  })
})

it("every npm script that the README names exists", () => {
  const { scripts } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"))
  const named = [...readme.matchAll(/npm (?:run )?(start|test|(?<=run )[\w:]+)/g)].map(([, name]) => name)
  expect(named.length).toBeGreaterThan(2)
  for (const name of named) expect(Object.keys(scripts)).toContain(name)
})

const otherDevice = (url: string) => `
  import { collection, openWorkspace, text } from "headwater"
  import { memoryStore } from "headwater/memory"
  const notes = collection("notes", undefined, { fields: { body: text() } })
  const ws = await openWorkspace({ id: "my-notes", collections: { notes }, store: memoryStore(), relay: { url: "${url}" } })
  await ws.whenSynced()
  console.log(ws.notes.all().map((row) => row.title + ": " + row.body).join())
  await ws.close()
`

/** From the sources, so that the test needs no build. */
async function bundle(file: string): Promise<void> {
  const source = (name: string) => path.join(root, "src", name)
  await build({
    entryPoints: [file],
    outdir: folder,
    bundle: true,
    platform: "node",
    format: "esm",
    // the packages of others stay outside, ours come from src
    external: ["@automerge/*", "classic-level", "ws", "zod"],
    alias: {
      "headwater/node": source("store/node.ts"),
      "headwater/memory": source("store/memory.ts"),
      headwater: source("index.ts"),
      "#websocket": source("websocket.node.ts"),
    },
  })
}
