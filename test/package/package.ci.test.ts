import { execFile } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { gzipSync } from "node:zlib"
import { build as esbuild, type Metafile } from "esbuild"
import { build as vite } from "vite"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { install, type Packed, pack } from "../support/packed.ts"

// The published packages: these tests pack, install, import and bundle them, and check their sizes.
const root = path.resolve(import.meta.dirname, "../..")
const folder = mkdtempSync(path.join(tmpdir(), "headwater-package-"))
const consumer = path.join(folder, "app")
const run = promisify(execFile)

/**
 * Upper bounds in bytes. A change that raises a bound says here why. In order:
 * - Headwater's own CBOR reader replaced a dependency: 7,000 less in the bundle, but more in both packages.
 * - Library, from 170,000: live documents limited by their size, waits that share their notes, opening on a full disk,
 *   and mending every damaged record. Relay, from 63,000: a failed log stops only its own workspace, and the relay
 *   counts memory that belongs to no connection any more.
 * - The encoder of new notes: bundle 2,500, library 10,000. The reader of rows: bundle 5,800, library 25,000. Without
 *   them, a page loads a megabyte of Automerge before its first note and before its first list.
 * - The short form of chunks: bundle 6,600 (3,000 for fflate, 1,700 for the inflater), library 13,000, relay 13,000.
 *   Without it, a backlog of edits has 13 to 19 times as many bytes on the wire.
 * - Bundle 2,500, library 13,000, relay 1,000: checksums of a device's records, packed changes of live documents, work
 *   divided by operations, steps that end with their connection, and logs that undo only the failed flush.
 * - Relay 2,000: records that leave out what their changes have in common.
 * - Bundle 500: derived changes that are made again after damage, and checks of the values that JavaScript passes.
 * - Library, down from 255,000: its files are joined, and the package has them without comments.
 * - Bundle 3,500: histories that are folded into pages. Bundle 2,000: edits that need no document, bounded folds, and
 *   waits that outlast a connection. Library 7,000: the folded histories and these edits.
 * - Library, 17,000 less: the type files of documents and replicas are left out.
 * - Library 8,000, and 5,000 of the whole bundle that are not loaded at first: entities on a screen (`collection.open`).
 * - Library 17,000: the bindings of CodeMirror, of inputs and textareas, and the hooks for React, with their types.
 */
const limits = {
  /**
   * What an app's bundle for browsers with IndexedDB and a relay connection loads at first, minified and gzipped, without
   * Automerge.
   */
  bundle: 78_000,
  /** The same with what the app loads when a person opens an entity or writes. */
  wholeBundle: 86_000,
  /** What `headwater/codemirror` adds to a page, minified and gzipped, without CodeMirror. */
  codemirror: 2_000,
  /** The packed package of the library. */
  library: 190_000,
  /** The packed package of the relay. */
  relay: 89_500,
}

let library: Packed
let relay: Packed

const sizeOf = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => statSync(path.join(folder, name)))
    .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0)

beforeAll(async () => {
  library = await pack(root, folder)
  relay = await pack(path.join(root, "relay"), folder)
  await install(consumer, "module", path.join(folder, library.filename))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("the library's package", () => {
  it("holds the build and nothing else", () => {
    const strange = library.files
      .map((file) => file.path)
      .filter((name) => !/^(dist\/.*\.(js|d\.ts)|package\.json|README\.md|LICENSE)$/.test(name))
    expect(strange).toEqual([])
    const installed = sizeOf(path.join(consumer, "node_modules"))
    const automerge = sizeOf(path.join(consumer, "node_modules/@automerge"))
    console.log(`library: ${library.files.length} files, ${library.size} bytes packed (limit ${limits.library})`)
    console.log(`installed: ${installed} bytes with everything it needs, Automerge is ${automerge} of them`)
    expect(library.size).toBeLessThan(limits.library)
  })

  it("exports every name on Node, and a workspace works", async () => {
    const script = `
      const names = {}
      for (const entry of ["", "/node", "/indexeddb", "/memory", "/textarea", "/testing"]) names[entry] = Object.keys(await import("headwater" + entry)).sort()
      const { collection, openWorkspace, shape, text } = await import("headwater")
      const { nodeStore } = await import("headwater/node")
      const notes = collection("notes", shape(), { fields: { body: text() } })
      const ws = await openWorkspace({ id: "w", collections: { notes }, store: nodeStore("./data") })
      const { id } = await ws.notes.create({ title: "T", body: "hello" })
      await ws.notes.update(id, (draft, edit) => edit.splice("body", 5, 0, " world"))
      const { title, body } = ws.notes.get(id)
      await ws.close()
      console.log(JSON.stringify({ names, title, body }))`
    writeFileSync(path.join(consumer, "use.mjs"), script)
    const { stdout } = await run(process.execPath, ["use.mjs"], { cwd: consumer })
    const { names, title, body } = JSON.parse(stdout)
    expect({ title, body }).toEqual({ title: "T", body: "hello world" })
    expect(names).toEqual({
      "": ["HeadwaterError", "codes", "collection", "openWorkspace", "preview", "relayConnection", "shape", "text"],
      "/node": ["nodeStore"],
      "/indexeddb": ["indexedDBStore"],
      "/memory": ["memoryStore"],
      "/textarea": ["bindText"],
      "/testing": expect.arrayContaining(["liveTextConformance", "storeConformance"]),
    })
  })

  it("runs with the relay in a CommonJS project, through require and compiled by tsx", async () => {
    const app = path.join(folder, "commonjs")
    await install(
      app,
      "commonjs",
      ...[library, relay].map(({ filename }) => path.join(folder, filename)),
      "tsx@4.23.15",
    )
    const script = (begin: string) => `${begin}
      async function main() {
        const notes = collection("notes", shape(), { fields: { body: text() } })
        const ws = await openWorkspace({ id: "w", collections: { notes }, store: nodeStore("./data") })
        const { id } = await ws.notes.create({ title: "T", body: "hello" })
        console.log(ws.notes.get(id).title, typeof createRelay)
        await ws.close()
      }
      main()`
    const names = ["{ collection, openWorkspace, shape, text }", "{ nodeStore }", "{ createRelay }"] as const
    const from = ["headwater", "headwater/node", "headwater-relay"] as const
    const imports = names.map((name, i) => `import ${name} from "${from[i]}"`)
    const requires = names.map((name, i) => `const ${name} = require("${from[i]}")`)
    writeFileSync(path.join(app, "app.ts"), script(imports.join("\n")))
    writeFileSync(path.join(app, "app.cjs"), script(requires.join("\n")))
    for (const args of [["node_modules/tsx/dist/cli.mjs", "app.ts"], ["app.cjs"]]) {
      const { stdout } = await run(process.execPath, args, { cwd: app })
      expect(stdout).toBe("T function\n")
    }
  }, 120_000)

  it("compiles in an app without Node's types whose `lib` is only es2022 and dom", async () => {
    writeFileSync(
      path.join(consumer, "plain.ts"),
      `import { collection, openWorkspace, shape, text } from "headwater"
      import { indexedDBStore } from "headwater/indexeddb"
      import { memoryStore } from "headwater/memory"
      import { nodeStore } from "headwater/node"
      import { useRows } from "headwater/react" // its types need no React
      import { headsOf, storeConformance } from "headwater/testing"
      import { bindText } from "headwater/textarea"
      const notes = collection("notes", shape<{ title: string; body: string }>(), { fields: { body: text() } })
      export const open = (node: boolean) =>
        openWorkspace({ id: "w", collections: { notes }, store: node ? nodeStore("n") : memoryStore() })
      export const others = [indexedDBStore, useRows, headsOf, storeConformance, bindText]
      `,
    )
    const tsc = path.join(root, "node_modules/.bin/tsc")
    for (const [kind, resolution] of [
      ["NodeNext", "NodeNext"],
      ["ESNext", "Bundler"],
    ] as const) {
      const options = ["--noEmit", "--strict", "--skipLibCheck", "false", "--target", "es2022", "--lib", "es2022,dom"]
      const modules = ["--types", "", "--module", kind, "--moduleResolution", resolution]
      const result = await run(tsc, [...options, ...modules, "plain.ts"], { cwd: consumer }).catch(
        (failed: { stdout: string }) => failed,
      )
      expect(result.stdout, resolution).toBe("")
    }
  })

  it("compiles in a strict app that also checks the package's declarations", async () => {
    writeFileSync(
      path.join(consumer, "app.ts"),
      `import { collection, openWorkspace, preview, shape, text, type RowOf } from "headwater"
      import { memoryStore } from "headwater/memory"
      import { indexedDBStore } from "headwater/indexeddb"
      const notes = collection("notes", shape<{ title: string; body: string }>(), { fields: { body: text() } })
      export const open = (browser: boolean) => openWorkspace({ id: "w", collections: { notes }, store: browser ? indexedDBStore("n") : memoryStore() })
      export const line = (row: RowOf<typeof notes>): string => row.title + preview(row, "body")
      // @ts-expect-error a row is read-only
      export const spoil = (row: RowOf<typeof notes>) => { row.title = "" }
      `,
    )
    const tsc = path.join(root, "node_modules/.bin/tsc")
    for (const module of [
      ["NodeNext", "NodeNext"],
      ["ESNext", "Bundler"],
    ] as const) {
      const [kind, resolution] = module
      const options = [
        "--noEmit",
        "--strict",
        "--target",
        "es2022",
        "--lib",
        "es2023,dom,dom.iterable,esnext.disposable",
        "--types",
        "",
      ]
      const result = await run(tsc, [...options, "--module", kind, "--moduleResolution", resolution, "app.ts"], {
        cwd: consumer,
      }).catch((failed: { stdout: string }) => failed)
      expect(result.stdout, resolution).toBe("")
    }
  })
})

describe("in a browser", () => {
  const entry = () => path.join(consumer, "browser.js")
  const gzipped = (code: Uint8Array | string) => gzipSync(code, { level: 9 }).length

  beforeAll(() => {
    writeFileSync(
      entry(),
      `import { collection, openWorkspace, preview, shape, text } from "headwater"
      import { indexedDBStore } from "headwater/indexeddb"
      const notes = collection("notes", shape(), { fields: { body: text() } })
      openWorkspace({ id: "w", collections: { notes }, store: indexedDBStore("w"), relay: { url: "ws://127.0.0.1:4400" } })
        .then((ws) => { document.title = ws.notes.all().map((row) => row.title + preview(row, "body")).join() })`,
    )
  })

  it("the library without Automerge is small, and loads open documents and the deflater later", async () => {
    const { outputFiles, metafile } = await esbuild({
      entryPoints: [entry()],
      outdir: path.join(folder, "small"),
      bundle: true,
      splitting: true,
      minify: true,
      format: "esm",
      external: ["@automerge/*"],
      metafile: true,
      absWorkingDir: folder,
      write: false,
    })
    const first = new Set(chunksAtFirst(metafile).map((name) => path.join(folder, name)))
    const sum = (files: typeof outputFiles) => files.reduce((bytes, { contents }) => bytes + gzipped(contents), 0)
    const sizes = { first: sum(outputFiles.filter((file) => first.has(file.path))), all: sum(outputFiles) }
    console.log(`browser bundle without Automerge, gzipped: ${sizes.first} bytes at first, ${sizes.all} in all`)
    expect(sizes.first).toBeLessThan(limits.bundle)
    expect(sizes.all).toBeLessThan(limits.wholeBundle)
  })

  it("the binding of CodeMirror is small, and needs nothing but CodeMirror", async () => {
    const { outputFiles } = await esbuild({
      stdin: { contents: `export * from "headwater/codemirror"`, resolveDir: consumer },
      bundle: true,
      minify: true,
      format: "esm",
      external: ["@codemirror/*"],
      write: false,
    })
    const code = outputFiles[0]!.text
    console.log(`headwater/codemirror: ${gzipped(code)} bytes gzipped (limit ${limits.codemirror})`)
    expect(gzipped(code)).toBeLessThan(limits.codemirror)
    expect([...code.matchAll(/from"([^"]+)"/g)].map(([, from]) => from).sort()).toEqual([
      "@codemirror/state",
      "@codemirror/view",
    ])
  })

  it("esbuild bundles it without configuration, and the first chunks contain no Automerge and no code of Node", async () => {
    const outdir = path.join(folder, "esbuild")
    const { metafile } = await esbuild({
      entryPoints: [entry()],
      outdir,
      bundle: true,
      splitting: true,
      minify: true,
      format: "esm",
      metafile: true,
    })
    const first = loadedAtFirst(metafile)
    expect(first.join("\n")).not.toMatch(/@automerge|classic-level|node_modules\/ws\//)
    expect(Object.keys(metafile.inputs).some((name) => name.includes("@automerge/automerge"))).toBe(true)
  })

  it("Vite bundles it without configuration, and the first chunk contains no Automerge", async () => {
    const outDir = path.join(folder, "vite")
    writeFileSync(
      path.join(consumer, "index.html"),
      `<!doctype html><script type="module" src="./browser.js"></script>`,
    )
    await vite({ root: consumer, configFile: false, logLevel: "error", build: { outDir, target: "es2022" } })
    const html = readFileSync(path.join(outDir, "index.html"), "utf8")
    const [, first = ""] = /src="\/(assets\/[^"]+)"/.exec(html) ?? []
    const chunks = readdirSync(path.join(outDir, "assets")).map((name) => ({
      name,
      size: readFileSync(path.join(outDir, "assets", name)).length,
    }))
    expect(gzipped(readFileSync(path.join(outDir, first)))).toBeLessThan(limits.bundle)
    expect(chunks.some(({ size }) => size > 1_000_000)).toBe(true)
  })

  /** Returns the source files in the entry's chunk and in all chunks that it imports statically. */
  const loadedAtFirst = (metafile: Metafile) =>
    chunksAtFirst(metafile).flatMap((name) => Object.keys(metafile.outputs[name]!.inputs))

  /** Returns the entry's chunk and all chunks that it imports statically. */
  function chunksAtFirst({ outputs }: Metafile): string[] {
    const seen = new Set<string>()
    const visit = (name: string): string[] => {
      const output = outputs[name]
      if (output === undefined || seen.has(name)) return []
      seen.add(name)
      const next = output.imports.filter(({ kind }) => kind === "import-statement").flatMap(({ path }) => visit(path))
      return [name, ...next]
    }
    return Object.keys(outputs)
      .filter((name) => outputs[name]?.entryPoint?.endsWith("browser.js"))
      .flatMap(visit)
  }
})

// relay-package.ci.test.ts installs this package alone and starts the relay.
it("the relay's package is small", () => {
  console.log(`relay: ${relay.files.length} files, ${relay.size} bytes packed (limit ${limits.relay})`)
  expect(relay.size).toBeLessThan(limits.relay)
})
