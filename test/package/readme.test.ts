import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { build, transform } from "esbuild"
import { createRelay } from "headwater-relay"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const root = path.resolve(import.meta.dirname, "../..")
const readme = readFileSync(path.join(root, "README.md"), "utf8")
const [, quickStart = ""] = /```ts\n([\s\S]*?)```/.exec(readme) ?? []
const [, withReact = ""] = /```tsx\n([\s\S]*?)```/.exec(readme) ?? []
const folder = mkdtempSync(path.join(tmpdir(), "headwater-readme-"))
const run = promisify(execFile)

/**
 * Makes the folder that a reader of the README has after its `npm install`: with the packages that the command names,
 * and with the dependencies of Headwater.
 */
beforeAll(async () => {
  const [, install = ""] = /npm install (headwater .*)/.exec(readme) ?? []
  const [, ...named] = install.split(" ")
  for (const name of [...named, "@types/react"]) link(name, folder)

  const ours = path.join(folder, "node_modules/headwater")
  await build({
    entryPoints: ["index.ts", "store/node.ts", "store/memory.ts"].map((name) => path.join(root, "src", name)),
    outdir: ours,
    bundle: true,
    splitting: true,
    packages: "external",
    platform: "node",
    format: "esm",
    alias: { "#websocket": path.join(root, "src/sync/websocket.node.ts") },
  })
  const exports = { ".": "./index.js", "./node": "./store/node.js", "./memory": "./store/memory.js" }
  writeFileSync(path.join(ours, "package.json"), JSON.stringify({ name: "headwater", type: "module", exports }))
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"))
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) link(name, ours)

  writeFileSync(path.join(folder, "quick-start.ts"), quickStart)
  writeFileSync(path.join(folder, "with-react.tsx"), withReact)
  writeFileSync(path.join(folder, "package.json"), `{ "type": "module" }`)
})

function link(name: string, into: string): void {
  const to = path.join(into, "node_modules", name)
  mkdirSync(path.dirname(to), { recursive: true })
  symlinkSync(path.join(root, "node_modules", name), to)
}

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("the README's quick start", () => {
  it("compiles in a strict app, and so does what it has for React", async () => {
    expect(withReact).toContain("useText")
    const compilerOptions = { rootDir: "/", jsx: "react-jsx", typeRoots: [path.join(root, "node_modules/@types")] }
    const options = { extends: path.join(root, "tsconfig.json"), compilerOptions, include: ["*.ts", "*.tsx"] }
    writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify(options))
    const tsc = run(path.join(root, "node_modules/.bin/tsc"), ["-p", "."], { cwd: folder })
    expect(await tsc.then(({ stdout }) => stdout).catch(({ stdout }) => stdout)).toBe("")
  })

  it("runs, and another device gets its note from the relay", async () => {
    const relay = await createRelay({ host: "127.0.0.1", port: 0, data: path.join(folder, "relay") })
    try {
      const told = quickStart.replace("ws://127.0.0.1:4400", relay.url)
      expect(told).not.toBe(quickStart)
      await write("quick-start.js", told)
      const { stdout } = await run(process.execPath, ["quick-start.js"], { cwd: folder, timeout: 30_000 })
      expect(stdout).toContain("Hello, world")
      await write("other.js", otherDevice(relay.url))
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

async function write(name: string, source: string): Promise<void> {
  writeFileSync(path.join(folder, name), (await transform(source, { loader: "ts", format: "esm" })).code)
}
