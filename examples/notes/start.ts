import { fileURLToPath } from "node:url"
import { createRelay } from "headwater-relay"
import { servePage } from "./serve.ts"

// `npm start`: the relay and the page on loopback, until Ctrl-C
const { PORT = "4400", PAGE_PORT = "4401", DATA_DIR = "data" } = process.env
const relay = await createRelay({ host: "127.0.0.1", port: Number(PORT), data: DATA_DIR })
const folder = fileURLToPath(new URL("./page/", import.meta.url))
const page = await servePage({ port: Number(PAGE_PORT), relay: relay.url, folder }).catch(async (error) => {
  await relay.close()
  throw error
})
console.log(`relay  ${relay.url}\npage   ${page.url}`)

let stopping = false
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (stopping) process.exit(1) // asked twice
    stopping = true
    void page
      .close()
      .then(() => relay.close())
      .then(() => process.exit(0))
  })
}
