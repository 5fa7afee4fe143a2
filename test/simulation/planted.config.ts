/** Runs test/simulation/planted.run.ts with one line of the sources changed, in memory only. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig, type Plugin } from "vitest/config"
import type { Task } from "./planted.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const { bug } = JSON.parse(process.env["HEADWATER_PLANTED"] ?? "{}") as Task

const planted: Plugin = {
  name: "planted",
  enforce: "pre",
  load(id) {
    const edits = bug.edits.filter(({ file }) => id === root + file)
    if (edits.length === 0) return undefined
    return edits.reduce((code, { replace, by }) => code.replace(replace, () => by), readFileSync(id, "utf8"))
  },
}

export default defineConfig({
  root,
  plugins: [planted],
  resolve: { alias: { "#websocket": `${root}src/sync/websocket.node.ts` } },
  test: {
    include: ["test/simulation/planted.run.ts"],
    testTimeout: 10 * 60_000,
    reporters: ["dot"],
  },
})
