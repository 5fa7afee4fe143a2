/** Plants a bug of a few lines into the sources, as somebody might write it, and tells whether the tests find it. */
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** A text that is exactly once in a source file, and the text that replaces it. */
export interface SourceEdit {
  readonly file: string
  readonly replace: string
  readonly by: string
}

export interface Bug {
  readonly name: string
  readonly edits: readonly SourceEdit[]
}

/** A schedule of `scenarios.ts`, by its name. */
export interface Schedule {
  readonly scenario: string
}

/** This many runs of the property with this seed. Run number `first` (counted from 0) is played before the others. */
export interface Runs {
  readonly runs: number
  readonly seed: number
  readonly first?: number
}

/** The tests of one file. */
export interface Tests {
  readonly tests: string
}

export interface Task {
  readonly bug: Bug
  readonly run: Schedule | Runs | Tests
  /** Path of the file to which the result is written. */
  readonly out: string
}

export interface Result {
  /** The message of the failure. Undefined: nothing failed. */
  readonly found?: string
  /** The number of the run that failed. */
  readonly by?: number
  readonly runs: number
}

/**
 * Throws unless the text of each edit is exactly once in its file. Otherwise the edit would change nothing, or another
 * place.
 */
export function checkPlantable({ name, edits }: Bug): void {
  for (const { file, replace, by } of edits) {
    const times = readFileSync(root + file, "utf8").split(replace).length - 1
    if (times !== 1)
      throw new Error(`planted bug "${name}": its text is ${times} times in ${file}, not once:\n${replace}`)
    if (by === replace) throw new Error(`planted bug "${name}" changes nothing`)
  }
}

/** Runs the schedule, the property or the tests in a process of its own whose sources have the bug. */
export async function plant(bug: Bug, run: Task["run"]): Promise<Result> {
  checkPlantable(bug)
  const folder = await mkdtemp(join(tmpdir(), "planted-"))
  try {
    const out = join(folder, "result.json")
    const task: Task = { bug, run, out }
    const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs")
    const env = { ...process.env, HEADWATER_PLANTED: JSON.stringify(task) }
    const args = [vitest, "run", "--config", "test/simulation/planted.config.ts"]
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, env, maxBuffer: 2 ** 26 }).catch(
      (error: { stdout: string; stderr: string }) => ({ stdout: `${error.stdout}\n${error.stderr}` }),
    )
    const result = await readFile(out, "utf8").catch(() => {
      throw new Error(`the planted run of "${bug.name}" gave no result:\n${stdout}`)
    })
    return "tests" in run ? failedOf(JSON.parse(result)) : (JSON.parse(result) as Result)
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** The part of vitest's JSON report that is read here. */
interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[]
  }[]
}

/** The names of the tests that failed, each on a line. */
function failedOf({ testResults }: Report): Result {
  const all = testResults.flatMap(({ assertionResults }) => assertionResults)
  const failed = all.filter(({ status }) => status === "failed").map(({ fullName }) => fullName)
  return { runs: all.length, ...(failed.length > 0 && { found: failed.join("\n") }) }
}
