/** A process that works on a store. Its first argument says how: hold, write or fill. `process.ts` starts it. */
import { nodeStore } from "../../../src/store/node.ts"
import type { Write } from "../../../src/store/store.ts"
import { codeOf, idOf, ids, rowsOfId } from "./rows.ts"

const [what, folder = ""] = process.argv.slice(-2)
const store = nodeStore(folder)
await store.claim("w")
const say = (line: string) => process.stdout.write(`${line}\n`)

if (what === "hold") {
  say("held")
  setInterval(() => {}, 1000)
}

// Commits for ever, four ids at a time, and prints each id when its commit has resolved.
if (what === "write") {
  let next = (await ids(store)).length
  const lane = async () => {
    for (;;) {
      const id = next++
      await store.commit(rowsOfId(id))
      say(`${id}`)
    }
  }
  await Promise.all([lane(), lane(), lane(), lane()])
}

// Commits until three commits have failed on a full disk. After each commit it prints whether the committed value can
// be read.
if (what === "fill") {
  let failures = 0
  for (let id = 0; failures < 3 && id < 200; id++) {
    const big: Write = [["w", "big", idOf(id)], `${id} `.repeat(10_000)]
    const failed = await store.commit([...rowsOfId(id), big]).then(() => undefined, codeOf)
    const there = (await store.get(["w", "big", idOf(id)])) !== undefined
    if (failed) failures++
    say(JSON.stringify({ id, failed, there }))
  }
}
