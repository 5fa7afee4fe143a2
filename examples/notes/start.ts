import { fileURLToPath } from "node:url"
import { createRelay } from "headwater-relay"
import { servePage } from "./serve.ts"

// `npm start`: runs the relay and serves the page on loopback until Ctrl-C
const { PORT, PAGE_PORT, DATA_DIR } = process.env
const relay = await createRelay({ host: "127.0.0.1", port: Number(PORT || 4400), data: DATA_DIR || "data" }).catch(
  (error) => giveUp("relay", "PORT", error),
)
const folder = fileURLToPath(new URL("./page/", import.meta.url))
const page = await servePage({ port: Number(PAGE_PORT || 4401), relay: relay.url, folder }).catch(async (error) => {
  await relay.close()
  return giveUp("page", "PAGE_PORT", error)
})
console.log(`relay  ${relay.url}\npage   ${page.url}`)

let stopping = false
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (stopping) process.exit(1) // a second signal ends the process at once
    stopping = true
    void page
      .close()
      .then(() => relay.close())
      .then(() => process.exit(0))
  })
}

/** Prints one line without a stack, because the cause is rarely a bug, and would be hard to find above a stack. */
function giveUp(what: string, variable: string, error: NodeJS.ErrnoException): never {
  const other = error.code === "EADDRINUSE" ? `; set ${variable} to another port` : ""
  console.error(`the ${what} cannot start: ${error.message}${other}`)
  process.exit(1)
}
