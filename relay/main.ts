#!/usr/bin/env node
/**
 * The command line. A flag takes precedence over an environment variable. Once the relay listens, one line of JSON is
 * written to stdout, for programs that start a relay.
 */
import { parseArgs } from "node:util"
import { createRelay } from "./index.ts"
import { describe, linesTo } from "./machine/report.ts"
import { VERSION } from "./machine/version.ts"

const usage = `headwater-relay serve [options]

  --port <n>        port, 0 for a free one          PORT, else 4400
  --host <name>     address to listen on            HOST, else 127.0.0.1
  --data <folder>   folder of the logs              DATA_DIR, else ./data
  --origin <origin> a page that may connect besides those on loopback; may be given several times
  --insecure        allow a host that other machines can reach; there are no tokens yet
  --version         print the version
  --help            print this
`

// A write fails with EPIPE when nobody reads the relay's output any more. Without this listener, that error would end
// the relay.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})

const report = linesTo(process.stderr, Date.now)

/** Returns the options, or a text to print instead of starting a relay. */
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
      version: { type: "boolean", short: "v" },
    },
  })
  if (values.help) return usage
  if (values.version) return `${VERSION}\n`
  if (positionals.join(" ") !== "serve") throw new Error(`the only command is serve, not "${positionals.join(" ")}"`)
  // An empty variable counts as unset, because a compose file, for example, may pass an unset variable as an empty one.
  const set = (name: string) => env[name] || undefined
  const port = values.port ?? set("PORT") ?? "4400"
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65535)
    throw new Error(`${port} is not a port: give a number from 0 to 65535`)
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
    if (typeof options !== "string") return options
    process.stdout.write(options)
    process.exit(0)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${usage}`)
    process.exit(2)
  }
}

/** Returns the reason why the relay did not start, as one sentence. */
function sentenceOf(error: unknown): string {
  const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number }
  if (code === "EADDRINUSE") {
    return `port ${port} of ${address} is taken: stop what listens there, or choose another with --port`
  }
  if (code === "EACCES" && port !== undefined) {
    return `this user may not listen on port ${port}: choose one above 1023 with --port`
  }
  if (code === "ENOTFOUND" || code === "EADDRNOTAVAIL") {
    return `this machine has no address ${address ?? options.host}: choose another with --host`
  }
  return error instanceof Error ? describe(error).replace(/\s*\n\s*/g, " ") : String(error)
}

const options = readOptionsOrExit()
const starting = createRelay({ ...options, report })
let stopping = false
const stop = () => {
  if (stopping) process.exit(1)
  stopping = true
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
// Listen for signals before the line of JSON is written: a program that waits for this line may send a signal at once.
process.on("SIGTERM", stop)
process.on("SIGINT", stop)
try {
  const relay = await starting
  process.stdout.write(`${JSON.stringify({ event: "listening", url: relay.url, port: relay.port })}\n`)
} catch (error) {
  process.stderr.write(`headwater-relay: ${sentenceOf(error)}\n`)
  process.exit(1)
}
