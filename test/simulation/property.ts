/** The project's property: whatever happens, no promise is broken on the way, and in the end all replicas agree. */
import * as A from "@automerge/automerge"
import fc from "fast-check"
import { loadAutomerge } from "../../src/document/entity.ts"
import { obey, type Run, runs } from "./commands.ts"
import { settle } from "./end.ts"
import { Violation } from "./oracle/facts.ts"
import { World } from "./world/world.ts"

/**
 * Each thing in `THINGS` must happen in at least this share of the runs, because runs that meet no mishap prove
 * nothing.
 */
const SHARE = 0.05

const THINGS = Object.keys(new World({ seed: 1, replicas: 0 }).happened())

export interface Outcome {
  readonly runs: number
  readonly seed: number
  /** For each thing: in how many runs it happened. */
  readonly seen: ReadonlyMap<string, number>
  readonly ms: number
  /** Undefined: every run passed. */
  readonly failure?: { readonly message: string; readonly seed: number; readonly path: string; readonly run: Run }
}

/** Loads Automerge, once per process. Otherwise the first run would wait for it in real time. */
export async function warmUp(): Promise<void> {
  await loadAutomerge()
  // WebAssembly memory grows in small steps, with a garbage collection at each. One large step here avoids them.
  const doc = A.change(A.init<{ bytes?: Uint8Array }>(), (d) => void (d.bytes = new Uint8Array(16 * 2 ** 20)))
  A.free(doc)
  // The library hands an error that a listener throws to `reportError`. Throw it, so that the run fails.
  globalThis.reportError = (error) => {
    throw error
  }
}

export async function play({ options, commands }: Run): Promise<World> {
  const world = new World(options)
  try {
    world.start()
    for (const command of commands) await obey(world, command)
    await settle(world)
  } catch (error) {
    // A violation that the oracle saw is the cause, and `error` may only be its consequence.
    throw withTrail(world.oracle.violation ?? error, world)
  } finally {
    await world.end()
  }
  return world
}

function withTrail(error: unknown, world: World): Error {
  const said = error instanceof Violation ? error.message : error instanceof Error ? error.stack : String(error)
  return new Error(`${said}\nthe last of ${world.scheduler.trace}:\n  ${world.scheduler.trail.slice(-60).join("\n  ")}`)
}

export async function hunt(options: { runs: number; seed: number; path?: string }): Promise<Outcome> {
  await warmUp()
  const seen = new Map<string, number>()
  const started = performance.now()
  let count = 0
  const property = fc.asyncProperty(runs, async (run) => {
    count++
    const world = await play(run)
    for (const [what, times] of Object.entries(world.happened()))
      if (times > 0) seen.set(what, (seen.get(what) ?? 0) + 1)
  })
  const { runs: numRuns, seed, path } = options
  const details = await fc.check(property, { numRuns, seed, ...(path && { path }), endOnFailure: true })
  const ms = performance.now() - started
  if (!details.failed) return { runs: count, seed, seen, ms }
  const run = details.counterexample![0]
  const { message } = details.errorInstance as Error
  return {
    runs: count,
    seed,
    seen,
    ms,
    failure: { message, seed: details.seed, path: details.counterexamplePath!, run },
  }
}

/** Leaves out commands, first many at a time and then fewer, as long as the run fails with a violation of that kind. */
export async function reduce(failure: NonNullable<Outcome["failure"]>, withinMs: number): Promise<typeof failure> {
  const until = performance.now() + withinMs
  let { run, message } = failure
  let size = run.commands.length >> 1
  while (size > 0) {
    let again = false
    for (let i = run.commands.length - size; i >= 0; i -= size) {
      if (performance.now() > until) return { ...failure, run, message }
      const commands = run.commands.toSpliced(i, size)
      const error = await play({ ...run, commands }).then(
        () => undefined,
        (thrown: Error) => thrown,
      )
      if (!error || kindOf(error.message) !== kindOf(message)) continue
      run = { ...run, commands }
      message = error.message
      again = true
    }
    if (size > 1 || !again) size >>= 1
  }
  return { ...failure, run, message }
}

const kindOf = (message: string): string => message.slice(0, message.indexOf(":"))

/** `text`: a table of the number of runs that met each thing. `rare`: the things that too few runs met. */
export function report(
  { runs, seed, seen, ms, failure }: Outcome,
  all: readonly string[] = THINGS,
): { text: string; rare: string[] } {
  const rows = all.map(
    (what) => `  ${what.padEnd(28)} ${String(seen.get(what) ?? 0).padStart(6)} ${percent(seen.get(what) ?? 0, runs)}`,
  )
  const rare = all.filter((what) => (seen.get(what) ?? 0) < runs * SHARE)
  const head = `${runs} runs from seed ${seed}, ${(ms / Math.max(1, runs)).toFixed(0)} ms each; runs that saw:`
  const told =
    failure &&
    `\nHEADWATER_SEED=${failure.seed} HEADWATER_PATH=${failure.path} npx vitest run convergence -t fresh   # plays it again\n${failure.message}\n${commandsOf(failure.run)}`
  return { text: `${head}\n${rows.join("\n")}${told ?? ""}`, rare }
}

export function commandsOf({ options, commands }: Run): string {
  const lines = commands.map((command) => `    ${JSON.stringify(command)},`)
  return `{\n  options: ${JSON.stringify(options)},\n  commands: [\n${lines.join("\n")}\n  ],\n}`
}

const percent = (n: number, of: number): string => `${((100 * n) / Math.max(1, of)).toFixed(0).padStart(4)} %`

/** `n` runs, always the same ones for a seed. */
export const sample = (n: number, seed: number): Run[] => fc.sample(runs, { numRuns: n, seed })
