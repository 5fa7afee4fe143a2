import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { build as esbuild } from "esbuild"
import { createRelay } from "headwater-relay"
import { chromium } from "playwright-core"
import { build as vite } from "vite"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { servePage } from "../../examples/notes/serve.ts"
import { launchOptions } from "./support.ts"

// Bundles an app that has installed the built package, without any configuration and with Automerge's base64 build.
// Then runs the app in a browser.
const root = path.resolve(import.meta.dirname, "../..")
const app = mkdtempSync(path.join(tmpdir(), "headwater-bundlers-"))
const outOf = (bundler: string) => path.join(app, `out-${bundler}`)

const script = `
import { collection, openWorkspace, shape, text } from "headwater"
import { indexedDBStore } from "headwater/indexeddb"
const notes = collection("notes", shape(), { fields: { body: text() } })
const relay = { url: new URLSearchParams(location.search).get("relay") }
const ws = await openWorkspace({ id: "w", collections: { notes }, store: indexedDBStore("w"), relay })
const { id } = await ws.notes.create({ title: "T", body: "hello" })
await ws.notes.update(id, (draft, edit) => edit.splice("body", 5, 0, " world"))
await ws.whenStored()
document.title = ws.notes.get(id).body + ", " + ws.status.pending + " pending"
`

beforeAll(() => {
  const ours = path.join(app, "node_modules/headwater")
  // copied, because a bundler follows a link and would use this repository's tsconfig.json
  for (const name of ["package.json", "dist"]) cpSync(path.join(root, name), path.join(ours, name), { recursive: true })
  const { dependencies } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"))
  for (const name of Object.keys(dependencies)) link(name, ours)
  link("@automerge/automerge", app)
  writeFileSync(path.join(app, "package.json"), `{ "private": true, "type": "module" }`)
  writeFileSync(path.join(app, "app.js"), script)
  writeFileSync(path.join(app, "index.html"), `<!doctype html><script type="module" src="./app.js"></script>`)
})
afterAll(() => rmSync(app, { recursive: true, force: true, maxRetries: 5 }))

function link(name: string, into: string): void {
  const to = path.join(into, "node_modules", name)
  mkdirSync(path.dirname(to), { recursive: true })
  symlinkSync(path.join(root, "node_modules", name), to)
}

describe("an app that is bundled", () => {
  it("by Vite runs in a browser", async () => {
    // no assets folder, because the page's server serves one flat folder
    const build = { outDir: outOf("vite"), assetsDir: "", target: "es2022" }
    await vite({ root: app, configFile: false, logLevel: "error", build })
    expect(await run("vite")).toBe("hello world, 0 pending")
  })

  it("by esbuild runs in a browser", async () => {
    await esbuild({
      absWorkingDir: app,
      entryPoints: ["app.js"],
      outdir: outOf("esbuild"),
      bundle: true,
      splitting: true,
      format: "esm",
      minify: true,
    })
    writeFileSync(path.join(outOf("esbuild"), "index.html"), `<script type="module" src="app.js"></script>`)
    expect(await run("esbuild")).toBe("hello world, 0 pending")
  })
})

/** Runs the bundled app. Returns the title that the app sets at its end, or the message of its first error. */
async function run(bundler: string): Promise<string> {
  const folder = outOf(bundler)
  expect(readdirSync(folder)).toContain("index.html")
  const relay = await createRelay({ port: 0, data: path.join(app, `relay-${bundler}`) })
  const server = await servePage({ port: 0, relay: relay.url, folder })
  const context = await chromium.launchPersistentContext(path.join(app, `profile-${bundler}`), launchOptions)
  try {
    const page = await context.newPage()
    const broken = new Promise<string>((resolve) => page.on("pageerror", ({ message }) => resolve(message)))
    await page.goto(`${server.url}?relay=${encodeURIComponent(relay.url)}`)
    const told = page.waitForFunction(() => document.title).then(() => page.title())
    return await Promise.race([told, broken])
  } finally {
    await context.close()
    await server.close()
    await relay.close()
  }
}
