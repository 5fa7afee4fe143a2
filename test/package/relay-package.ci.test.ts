import { execFile } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { afterAll, expect, it } from "vitest"
import { actorOf } from "../support/changes.ts"
import { endAll, start } from "../support/processes.ts"
import { note } from "../support/relay.ts"
import { Wire } from "../support/wire.ts"

const root = path.resolve(import.meta.dirname, "../..")
const folder = mkdtempSync(path.join(tmpdir(), "headwater-relay-package-"))
const run = promisify(execFile)
afterAll(async () => {
  await endAll()
  rmSync(folder, { recursive: true, force: true })
})

it("the packed relay works after an install in an empty folder", async () => {
  // Build into another folder than `npm run build`, because other tests may be building there at the same time.
  const source = path.join(folder, "source")
  mkdirSync(source)
  for (const file of ["package.json", "README.md"])
    copyFileSync(path.join(root, "relay", file), path.join(source, file))
  await run(process.execPath, [path.join(root, "relay/build.mjs"), path.join(source, "dist")])
  await run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: source })
  const packed = readdirSync(folder).find((name) => name.endsWith(".tgz"))!

  const app = path.join(folder, "app")
  mkdirSync(app)
  writeFileSync(path.join(app, "package.json"), JSON.stringify({ private: true, type: "module" }))
  await run("npm", ["install", "--no-audit", "--no-fund", path.join(folder, packed)], { cwd: app })
  const modules = path.join(app, "node_modules")
  expect(
    readdirSync(modules)
      .filter((name) => !name.startsWith("."))
      .sort(),
  ).toEqual(["headwater-relay", "ws"])
  expect(readFileSync(path.join(modules, "headwater-relay/dist/index.d.ts"), "utf8")).not.toMatch(/from "|import\(/)

  const relay = start(path.join(modules, ".bin/headwater-relay"), [
    "serve",
    "--port",
    "0",
    "--data",
    path.join(app, "data"),
  ])
  const { url } = JSON.parse(await relay.line()) as { url: string }
  const wire = await Wire.dial(url)
  await wire.ack(wire.push([note("e", actorOf(1))]))
  wire.pull()
  expect((await wire.level()).flatMap(({ items }) => items)).toHaveLength(1)
  expect(await relay.end("SIGTERM")).toEqual({ code: 0, signal: null })
})
