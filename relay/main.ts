#!/usr/bin/env node
/** The command line: flags before environment before defaults. stdout has one line, for programs that start a relay. */
import { parseArgs } from "node:util"
import { createRelay } from "./index.ts"
import { linesTo } from "./machine/report.ts"

const usage = `headwater-relay serve [options]

  --port <n>        port, 0 for a free one          PORT, else 4400
  --host <name>     address to listen on            HOST, else 127.0.0.1
  --data <folder>   where the logs are              DATA_DIR, else ./data
  --origin <origin> a page that may connect besides those on loopback; may be given several times
  --insecure        listen where others can reach it: there are no tokens yet
`

// Without a listener a reader that has gone (EPIPE) would end the relay as soon as it has something to say.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})

const report = linesTo(process.stderr, Date.now)

function readOptions(argv: readonly string[], env: NodeJS.ProcessEnv) {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      port: { type: "string" },
      host: { type: "string" },
      data: { type: "string" },
      origin: { type: "string", multiple: true },
      insecure: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  })
  if (values.help) return undefined
  if (positionals.join(" ") !== "serve") throw new Error(`there is one command, serve; not "${positionals.join(" ")}"`)
  // a compose file makes a variable empty that is not set
  const set = (name: string) => env[name] || undefined
  const port = values.port ?? set("PORT") ?? "4400"
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65535) throw new Error(`${port} is not a port`)
  return {
    port: Number(port),
    host: values.host ?? set("HOST"),
    data: values.data ?? set("DATA_DIR"),
    origins: values.origin,
    insecure: values.insecure,
  }
}

function readOptionsOrExit() {
  try {
    const options = readOptions(process.argv.slice(2), process.env)
    if (options) return options
    process.stdout.write(usage)
    process.exit(0)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${usage}`)
    process.exit(2)
  }
}

const starting = createRelay({ ...readOptionsOrExit(), report })
let asked = false
const stop = () => {
  if (asked) process.exit(1)
  asked = true
  starting
    .then((relay) => relay.close())
    .then(
      () => process.exit(0),
      (error) => {
        report("error", "not closed cleanly", { error })
        process.exit(1)
      },
    )
}
// Before the line: whoever waits for it may send a signal at once.
process.on("SIGTERM", stop)
process.on("SIGINT", stop)
try {
  const relay = await starting
  process.stdout.write(`${JSON.stringify({ event: "listening", url: relay.url, port: relay.port })}\n`)
} catch (error) {
  report("error", "not started", { error })
  process.exit(1)
}
