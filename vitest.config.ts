import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url))

// Tests import the packages by their public names and run the sources; test/package/package.ci.test.ts runs what is published.
export const alias = [
  { find: /^headwater$/, replacement: source("./src/index.ts") },
  { find: /^headwater\/node$/, replacement: source("./src/store/node.ts") },
  { find: /^headwater\/indexeddb$/, replacement: source("./src/store/indexeddb.ts") },
  { find: /^headwater\/memory$/, replacement: source("./src/store/memory.ts") },
  { find: /^headwater\/codemirror$/, replacement: source("./src/screens/codemirror.ts") },
  { find: /^headwater\/react$/, replacement: source("./src/screens/react.ts") },
  { find: /^headwater\/textarea$/, replacement: source("./src/screens/textarea.ts") },
  { find: /^headwater\/testing$/, replacement: source("./src/testing.ts") },
  { find: /^headwater-relay$/, replacement: source("./relay/index.ts") },
  { find: /^#websocket$/, replacement: source("./src/sync/websocket.node.ts") },
]
const long = process.env["HEADWATER_LONG"] === "1"
const minutes = (n: number) => n * 60_000

export default defineConfig({
  test: {
    // The budget is written for two cores; more workers would only make timings lie to each other.
    maxWorkers: 2,
    retry: 0,
    projects: [
      {
        resolve: { alias },
        test: {
          name: "fast",
          include: ["test/**/*.test.ts"],
          exclude: ["test/**/*.ci.test.ts", "test/browser/**"],
          testTimeout: long ? minutes(60) : minutes(1),
          hookTimeout: minutes(1),
        },
      },
      {
        resolve: { alias },
        test: {
          name: "ci",
          include: ["test/**/*.ci.test.ts"],
          exclude: ["test/browser/**"],
          testTimeout: long ? minutes(240) : minutes(10),
          hookTimeout: minutes(5),
        },
      },
      {
        resolve: { alias },
        test: {
          name: "browser",
          include: ["test/browser/**/*.test.ts"],
          testTimeout: minutes(3),
          hookTimeout: minutes(3),
          fileParallelism: false,
        },
      },
    ],
  },
})
