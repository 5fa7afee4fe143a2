/** Runs test/simulation/planted.run.ts, or a file of tests, with sources that are changed in memory only. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig, type Plugin } from "vitest/config"
import { alias } from "../../vitest.config.ts"
import type { Task } from "./plant-bug.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const { bug, run, out } = JSON.parse(process.env["HEADWATER_PLANTED"] ?? "{}") as Task

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
  resolve: { alias },
  test: {
    include: ["tests" in run ? run.tests : "test/simulation/planted.run.ts"],
    testTimeout: 10 * 60_000,
    reporters: "tests" in run ? [["json", { outputFile: out }]] : ["dot"],
  },
})
