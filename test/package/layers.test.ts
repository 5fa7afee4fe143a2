import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"

const root = path.resolve(import.meta.dirname, "../..")
const page = readFileSync(path.join(root, "docs/architecture.md"), "utf8")

/**
 * The rooms in the two tables of docs/architecture.md, each with the rooms that it may import from. A room is a folder,
 * and imports only point down. biome.json has the rules that need no table: against cycles, against the code of Node
 * and of the relay in browser code, and against other clocks and sockets than those of `Env`. The second half of this
 * file shows that the linter enforces each of these rules.
 */
const rooms = new Map(
  [...page.matchAll(/^\| \*\*`([\w/]+)\/`\*\* \|[^|]*\|([^|]*)\|$/gm)].map(([, room = "", imports = ""]) => [
    room,
    [...imports.matchAll(/\w+/g)].map(([name]) => `${room.split("/")[0]}/${name}`),
  ]),
)

/** Returns the room of a file: its folder in src/ or relay/, without any deeper folders. */
const roomOf = (file: string): string => file.split("/").slice(0, -1).slice(0, 2).join("/")

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

/** Describes every forbidden import of one file. */
function violations(file: string, source: string): string[] {
  const room = roomOf(file)
  const mayImport = rooms.get(room)
  if (mayImport === undefined) return [`${file} stands in no room: name its folder in docs/architecture.md`]
  return importsOf(source).flatMap(({ from, kind }) => {
    if (from.startsWith("@automerge/")) {
      if (room !== "src/document") return [`${file} imports Automerge`]
      return kind === "value" ? [`${file} imports Automerge before a document is opened`] : []
    }
    if (!from.startsWith(".")) return from === "#websocket" && room !== "src/sync" ? [`${file} imports ${from}`] : []
    const target = path.posix.join(path.posix.dirname(file), from)
    const to = roomOf(target)
    if (to === "src" || to === "relay") return [`${file} imports a door, ${target}`]
    const shared = room.startsWith("relay") && (to === "src/wire" || to === "src/base")
    const implementation = to === "src/store" && room !== to && room !== "src" && target !== "src/store/store.ts"
    if (!implementation && (to === room || shared || mayImport.includes(to))) return []
    return [`${file} imports ${target}`]
  })
}

describe("imports point down", () => {
  const filesOf = (folder: string) =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
      .map((file) => `${folder}/${file.split(path.sep).join("/")}`)
      .filter((file) => file.endsWith(".ts") && !/\/(dist|node_modules)\//.test(file))
  const files = [...filesOf("src"), ...filesOf("relay")]

  it("from each room of the page to those below it", () => {
    const names = [...rooms.keys()]
    expect(names).toEqual([
      ...[
        "src",
        "src/screens",
        "src/app",
        "src/sync",
        "src/replica",
        "src/document",
        "src/schema",
        "src/store",
        "src/wire",
        "src/base",
      ],
      ...["relay", "relay/serve", "relay/log", "relay/machine"],
    ])
    for (const [room, mayImport] of rooms) {
      for (const to of mayImport) expect(names.indexOf(to), `${room} -> ${to}`).toBeGreaterThan(names.indexOf(room))
    }
  })

  it("every room of the page exists as a folder, and every folder is a room of the page", () => {
    expect([...new Set(files.map(roomOf))].sort()).toEqual([...rooms.keys()].sort())
  })

  it("in every file of src and relay", () => {
    expect(
      files.flatMap((file) => {
        const door = roomOf(file) === "relay" // the command line is a door that may import the other door, index.ts
        const source = readFileSync(path.join(root, file), "utf8")
        return violations(file, door ? source.replace(`from "./index.ts"`, "") : source)
      }),
    ).toEqual([])
  })

  it("and no file silences the compiler", () => {
    for (const file of files) {
      expect(readFileSync(path.join(root, file), "utf8"), file).not.toMatch(/\bas any\b|@ts-/)
    }
  })

  it.each([
    ["src/replica/replica.ts", `import { sync } from "../sync/sync.ts"`, "imports src/sync/sync.ts"],
    ["src/document/entity.ts", `import type { Store } from "../store/store.ts"`, "imports src/store/store.ts"],
    ["src/replica/replica.ts", `export * from "../store/node.ts"`, "imports src/store/node.ts"],
    [
      "src/store/memory.ts",
      `import { project } from "../document/projection.ts"`,
      "imports src/document/projection.ts",
    ],
    ["src/sync/sync.ts", `import { draft } from "../schema/draft.ts"`, "imports src/schema/draft.ts"],
    [
      "src/wire/chunk.ts",
      `import {\n  a,\n  b,\n} from "../replica/disk/records.ts"`,
      "imports src/replica/disk/records.ts",
    ],
    ["src/app/workspace.ts", `import { x } from "../index.ts"`, "imports a door, src/index.ts"],
    ["src/replica/replica.ts", `const a = await import("@automerge/automerge")`, "imports Automerge"],
    [
      "src/document/entity.ts",
      `import * as A from "@automerge/automerge"`,
      "imports Automerge before a document is opened",
    ],
    ["src/wire/protocol.ts", `import { WebSocket } from "#websocket"`, "imports #websocket"],
    ["src/helpers/all.ts", "", "stands in no room: name its folder in docs/architecture.md"],
    ["relay/log/logs.ts", `import { RelayServer } from "../serve/server.ts"`, "imports relay/serve/server.ts"],
    [
      "relay/serve/server.ts",
      `import { Entity } from "../../src/document/entity.ts"`,
      "imports src/document/entity.ts",
    ],
  ])("%s with %s is refused", (file, source, message) => {
    expect(violations(file, source)).toEqual([`${file} ${message}`])
  })

  it.each([
    ["src/document/entity.ts", `import type * as A from "@automerge/automerge"`],
    ["src/document/entity.ts", `const A = await import("@automerge/automerge/slim")`],
    [
      "src/replica/replica.ts",
      `import type { Store } from "../store/store.ts"\nimport { Entity } from "../document/entity.ts"`,
    ],
    [
      "src/store/node.ts",
      `import { HeadwaterError } from "../base/errors.ts"\n// import { x } from "../document/entity.ts"`,
    ],
    ["relay/log/segment/format.ts", `import { encodeEntry } from "../../../src/wire/protocol.ts"`],
  ])("%s with %s is fine", (file, source) => {
    expect(violations(file, source)).toEqual([])
  })
})

describe("the linter", () => {
  it("refuses a cycle, Node code, relay code and another clock where they do not belong, and only there", async () => {
    const files: Record<string, string> = {
      "src/sync/cycle-a.ts": `import { b } from "./cycle-b.ts"\nexport const a = () => b\n`,
      "src/sync/cycle-b.ts": `import { a } from "./cycle-a.ts"\nexport const b = () => a\n`,
      "src/store/disk.ts": `import { readFile } from "node:fs/promises"\nexport const read = readFile\n`,
      "src/store/level.ts": `export const level = () => import("classic-level")\n`,
      "src/store/node.ts": `import { readFile } from "node:fs/promises"\nexport const read = readFile\n`,
      "src/sync/spy.ts": `export { createLog } from "../../relay/log/contract.ts"\n`,
      "src/replica/now.ts": "export const now = () => Date.now()\n",
      "src/replica/dice.ts": "export const dice = () => Math.random()\n",
      "src/replica/wait.ts": "export const wait = (f: () => void) => setTimeout(f, 1)\n",
      "src/replica/tick.ts": "export const tick = () => performance.now()\n",
      "src/app/key.ts": "export const key = () => crypto.getRandomValues(new Uint8Array(8))\n",
      "src/sync/dial.ts": `export const dial = () => new WebSocket("ws://x")\n`,
      "src/base/env.ts":
        "export const now = () => Date.now()\nexport const wait = (f: () => void) => setTimeout(f, 1)\n",
      "relay/serve/connection.ts": "export const now = () => Date.now()\n",
      "relay/serve/reader.ts": `import { Entity } from "../../src/document/entity.ts"\nexport const entity = Entity\n`,
      "relay/serve/opener.ts": `export const open = () => import("@automerge/automerge")\n`,
      "relay/serve/words.ts": `import { a } from "../../src/wire/protocol.ts"\nexport const b = a\n`,
      "relay/serve/server.ts": "export const now = () => Date.now()\n",
      "relay/log/segment/now.ts": "export const now = () => Date.now()\n",
    }
    const expected = {
      "src/sync/cycle-a.ts": "lint/suspicious/noImportCycles",
      "src/sync/cycle-b.ts": "lint/suspicious/noImportCycles",
      "src/store/disk.ts": "lint/style/noRestrictedImports",
      "src/store/level.ts": "lint/style/noRestrictedImports",
      "src/sync/spy.ts": "lint/style/noRestrictedImports",
      "src/replica/now.ts": "lint/nursery/noJsRestrictedProperties",
      "src/replica/dice.ts": "lint/nursery/noJsRestrictedProperties",
      "src/replica/wait.ts": "lint/style/noRestrictedGlobals",
      "src/replica/tick.ts": "lint/style/noRestrictedGlobals",
      "src/app/key.ts": "lint/style/noRestrictedGlobals",
      "src/sync/dial.ts": "lint/style/noRestrictedGlobals",
      "relay/serve/connection.ts": "lint/nursery/noJsRestrictedProperties",
      "relay/serve/reader.ts": "lint/style/noRestrictedImports",
      "relay/serve/opener.ts": "lint/style/noRestrictedImports",
      "relay/log/segment/now.ts": "lint/nursery/noJsRestrictedProperties",
    }
    expect(await lint(files)).toEqual(expected)
  })
})

/** Runs the project's linter over the given files, and returns what it reports for each of them. */
async function lint(files: Record<string, string>): Promise<Record<string, string>> {
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
