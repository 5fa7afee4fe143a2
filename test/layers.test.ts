import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"

/**
 * The picture of docs/architecture.md, as a test: every file of src/ stands in one room, and imports only point down.
 * What needs no picture (cycles, Node and relay code in the browser part, clocks and sockets in the engine) is in
 * biome.json; the second half of this file shows that each of those rules fires.
 */
const rooms: Record<string, { files: readonly string[]; mayImport: readonly string[] }> = {
  index: {
    files: ["index.ts", "testing.ts"],
    mayImport: ["apps", "sync", "replica", "documents", "stores", "contract", "words"],
  },
  apps: {
    files: ["workspace.ts", "collection.ts", "ids.ts"],
    mayImport: ["sync", "replica", "documents", "contract", "words"],
  },
  sync: {
    files: ["sync.ts", "session.ts", "socket.ts", "system.ts", "websocket.ts", "websocket.node.ts"],
    mayImport: ["replica", "contract", "words"],
  },
  replica: {
    files: [
      "replica.ts",
      "queue.ts",
      "transaction.ts",
      "memory.ts",
      "records.ts",
      "backlog.ts",
      "outbox.ts",
      "rows.ts",
      "documents.ts",
      "receive.ts",
      "push.ts",
      "arrivals.ts",
      "idle.ts",
    ],
    mayImport: ["documents", "contract", "words"],
  },
  documents: {
    files: [
      "entity.ts",
      "document.ts",
      "writing.ts",
      "deletion.ts",
      "derived.ts",
      "difference.ts",
      "operations.ts",
      "history.ts",
      "cells.ts",
      "projection.ts",
      "schema.ts",
      "draft.ts",
      "values.ts",
      "verify.ts",
      "automerge.ts",
    ],
    mayImport: ["words"],
  },
  stores: { files: ["store/"], mayImport: ["contract", "words"] },
  contract: { files: ["store/store.ts"], mayImport: ["words"] },
  words: {
    files: ["protocol.ts", "messages.ts", "cbor.ts", "chunk.ts", "hash.ts", "errors.ts", "env.ts"],
    mayImport: [],
  },
}

function roomOf(file: string): string | undefined {
  const matches = Object.entries(rooms).flatMap(([room, { files }]) =>
    files.filter((name) => file === name || file.startsWith(name)).map((name) => ({ room, length: name.length })),
  )
  return matches.sort((a, b) => b.length - a.length)[0]?.room
}

interface Import {
  readonly from: string
  readonly kind: "type" | "value" | "dynamic"
}

function importsOf(source: string): Import[] {
  const code = source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "")
  const statics = [...code.matchAll(/^(?:import|export)\s+(type\s)?(?:[^"'`;]*?\sfrom\s+)?"([^"]+)"/gm)]
  const dynamics = [...code.matchAll(/\bimport\(\s*"([^"]+)"/g)]
  return [
    ...statics.map(([, type, from = ""]): Import => ({ from, kind: type ? "type" : "value" })),
    ...dynamics.map(([, from = ""]): Import => ({ from, kind: "dynamic" })),
  ]
}

/** What is wrong with the imports of one file of src/, in words. */
function violations(file: string, source: string): string[] {
  const room = roomOf(file)
  if (room === undefined) return [`${file} stands in no room: name its room in test/layers.test.ts`]
  return importsOf(source).flatMap(({ from, kind }) => {
    if (from.startsWith("@automerge/")) {
      if (room !== "documents") return [`${file} (${room}) imports Automerge`]
      return kind === "value" ? [`${file} imports Automerge before a document is opened`] : []
    }
    if (!from.startsWith("."))
      return from === "#websocket" && room !== "sync" ? [`${file} (${room}) imports ${from}`] : []
    const target = path.posix.join(path.posix.dirname(file), from)
    const to = roomOf(target)
    if (target === "index.ts") return [`${file} imports index.ts`]
    if (to !== undefined && (to === room || rooms[room]!.mayImport.includes(to))) return []
    return [`${file} (${room}) imports ${target} (${to ?? "no room"})`]
  })
}

describe("imports point down", () => {
  const root = path.resolve(import.meta.dirname, "..")

  it("in every file of src", () => {
    const all = readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
    const files = all.filter((file) => file.endsWith(".ts"))
    expect(files.length).toBeGreaterThan(5)
    expect(files.flatMap((file) => violations(file, readFileSync(path.join(root, "src", file), "utf8")))).toEqual([])
  })

  it("and nobody silences the compiler", () => {
    for (const folder of ["src", "relay"]) {
      for (const file of readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })) {
        if (!file.endsWith(".ts") || /node_modules|dist/.test(file)) continue
        expect(readFileSync(path.join(root, folder, file), "utf8"), file).not.toMatch(/\bas any\b|@ts-/)
      }
    }
  })

  it.each([
    ["replica.ts", `import { sync } from "./sync.ts"`, "replica.ts (replica) imports sync.ts (sync)"],
    [
      "entity.ts",
      `import type { Store } from "./store/store.ts"`,
      "entity.ts (documents) imports store/store.ts (contract)",
    ],
    ["replica.ts", `export * from "./store/node.ts"`, "replica.ts (replica) imports store/node.ts (stores)"],
    [
      "store/memory.ts",
      `import { project } from "../projection.ts"`,
      "store/memory.ts (stores) imports projection.ts (documents)",
    ],
    ["sync.ts", `import { draft } from "./draft.ts"`, "sync.ts (sync) imports draft.ts (documents)"],
    ["chunk.ts", `import {\n  a,\n  b,\n} from "./records.ts"`, "chunk.ts (words) imports records.ts (replica)"],
    ["workspace.ts", `import { x } from "./index.ts"`, "workspace.ts imports index.ts"],
    ["replica.ts", `const a = await import("@automerge/automerge")`, "replica.ts (replica) imports Automerge"],
    [
      "entity.ts",
      `import * as A from "@automerge/automerge"`,
      "entity.ts imports Automerge before a document is opened",
    ],
    ["protocol.ts", `import { WebSocket } from "#websocket"`, "protocol.ts (words) imports #websocket"],
    ["helpers.ts", "", "helpers.ts stands in no room: name its room in test/layers.test.ts"],
  ])("%s with %s is refused", (file, source, message) => {
    expect(violations(file, source)).toEqual([message])
  })

  it.each([
    ["entity.ts", `import type * as A from "@automerge/automerge"`],
    ["entity.ts", `const A = await import("@automerge/automerge/slim")`],
    ["replica.ts", `import type { Store } from "./store/store.ts"\nimport { Entity } from "./entity.ts"`],
    ["store/node.ts", `import { HeadwaterError } from "../errors.ts"\n// import { x } from "../entity.ts"`],
  ])("%s with %s is fine", (file, source) => {
    expect(violations(file, source)).toEqual([])
  })
})

describe("the linter", () => {
  it("refuses a cycle, Node code, relay code and another clock where they do not belong, and only there", async () => {
    const files: Record<string, string> = {
      "src/cycle-a.ts": `import { b } from "./cycle-b.ts"\nexport const a = () => b\n`,
      "src/cycle-b.ts": `import { a } from "./cycle-a.ts"\nexport const b = () => a\n`,
      "src/disk.ts": `import { readFile } from "node:fs/promises"\nexport const read = readFile\n`,
      "src/level.ts": `export const level = () => import("classic-level")\n`,
      "src/store/node.ts": `import { readFile } from "node:fs/promises"\nexport const read = readFile\n`,
      "src/spy.ts": `export { createLog } from "../relay/log.ts"\n`,
      "src/now.ts": "export const now = () => Date.now()\n",
      "src/dice.ts": "export const dice = () => Math.random()\n",
      "src/wait.ts": "export const wait = (f: () => void) => setTimeout(f, 1)\n",
      "src/tick.ts": "export const tick = () => performance.now()\n",
      "src/key.ts": "export const key = () => crypto.getRandomValues(new Uint8Array(8))\n",
      "src/dial.ts": `export const dial = () => new WebSocket("ws://x")\n`,
      "src/env.ts": "export const now = () => Date.now()\nexport const wait = (f: () => void) => setTimeout(f, 1)\n",
      "relay/session.ts": "export const now = () => Date.now()\n",
      "relay/reader.ts": `import { Entity } from "../src/entity.ts"\nexport const entity = Entity\n`,
      "relay/opener.ts": `export const open = () => import("@automerge/automerge")\n`,
      "relay/words.ts": `import { a } from "../src/protocol.ts"\nexport const b = a\n`,
      "relay/server.ts": "export const now = () => Date.now()\n",
    }
    const expected = {
      "src/cycle-a.ts": "lint/suspicious/noImportCycles",
      "src/cycle-b.ts": "lint/suspicious/noImportCycles",
      "src/disk.ts": "lint/style/noRestrictedImports",
      "src/level.ts": "lint/style/noRestrictedImports",
      "src/spy.ts": "lint/style/noRestrictedImports",
      "src/now.ts": "lint/nursery/noJsRestrictedProperties",
      "src/dice.ts": "lint/nursery/noJsRestrictedProperties",
      "src/wait.ts": "lint/style/noRestrictedGlobals",
      "src/tick.ts": "lint/style/noRestrictedGlobals",
      "src/key.ts": "lint/style/noRestrictedGlobals",
      "src/dial.ts": "lint/style/noRestrictedGlobals",
      "relay/session.ts": "lint/nursery/noJsRestrictedProperties",
      "relay/reader.ts": "lint/style/noRestrictedImports",
      "relay/opener.ts": "lint/style/noRestrictedImports",
    }
    expect(await lint(files)).toEqual(expected)
  })
})

/** Runs the project's linter over made-up files; what it found, by file. */
async function lint(files: Record<string, string>): Promise<Record<string, string>> {
  const root = path.resolve(import.meta.dirname, "..")
  const folder = mkdtempSync(path.join(tmpdir(), "headwater-lint-"))
  try {
    const { vcs: _, $schema: __, ...config } = JSON.parse(readFileSync(path.join(root, "biome.json"), "utf8"))
    writeFileSync(path.join(folder, "biome.json"), JSON.stringify(config))
    for (const [file, source] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(folder, file)), { recursive: true })
      writeFileSync(path.join(folder, file), source)
    }
    const biome = path.join(root, "node_modules/.bin/biome")
    const run = promisify(execFile)(biome, ["lint", "--reporter=json", "--max-diagnostics=none"], { cwd: folder })
    const { stdout } = await run.catch((failed: { stdout: string }) => failed)
    const { diagnostics } = JSON.parse(stdout) as { diagnostics: { category: string; location: { path: string } }[] }
    return Object.fromEntries(diagnostics.map(({ category, location }) => [location.path, category]))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
