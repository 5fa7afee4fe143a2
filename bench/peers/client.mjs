/**
 * A device in a process of its own: `client.mjs <side> <task> <options as JSON>`. It prints the result as one line of
 * JSON. Tasks of several steps print a line after each step and read a line before the next one.
 */

import { monitorEventLoopDelay } from "node:perf_hooks"
import { createInterface } from "node:readline"
import { countCompilations } from "./webassembly.mjs"

// What libraries log to the console must not go to stdout, which the benchmark reads.
console.log = console.error
const [name, task, options] = process.argv.slice(2)
const compiled = countCompilations()
const stalls = monitorEventLoopDelay({ resolution: 5 })
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)

/** The figures of a task. They count from here on, so that they include loading the library, or from `restart`. */
const meter = {
  begun: performance.now(),
  cpu: process.cpuUsage(),
  compiled,
  restart() {
    meter.begun = performance.now()
    meter.cpu = process.cpuUsage()
    stalls.reset()
  },
  ms: () => performance.now() - meter.begun,
  cpuMs() {
    const { user, system } = process.cpuUsage(meter.cpu)
    return (user + system) / 1000
  },
  /** The longest time for which the event loop was blocked, ms. The resolution of 5 ms is subtracted. */
  stallMs: () => Math.max(0, stalls.max / 1e6 - 5),
  /** Prints the result of a step. Resolves with the next message from stdin, which lets the task go on. */
  async step(result) {
    say(result)
    return JSON.parse((await lines.next()).value)
  },
}
// The histogram wakes the process every 5 ms, and in other tasks the benchmark waits until the process is quiet. So it
// is on only in the task whose stalls are measured.
if (task === "pull") stalls.enable()
const { open } = await import(`./sides/${name}.mjs`)
const { [task]: run } = await import("./tasks.mjs")
say(await run(open, JSON.parse(options), meter))
process.exit(0)
