import { HeadwaterError } from "../../src/base/errors.ts"

export type Level = "info" | "warn" | "error"

/** What a relay says about itself: one JSON object a line. Never a token, never what is inside a change. */
export type Report = (level: Level, event: string, details?: Readonly<Record<string, unknown>>) => void

/** Lines for a stream such as stderr. Errors are shown with their code and cause, unforeseen ones with their stack. */
export const linesTo =
  (stream: { write(line: string): unknown }, now: () => number): Report =>
  (level, event, details = {}) => {
    const plain = Object.entries(details).map(([key, value]) => [key, value instanceof Error ? describe(value) : value])
    const line = { time: new Date(now()).toISOString(), level, event, ...Object.fromEntries(plain) }
    stream.write(`${JSON.stringify(line)}\n`)
  }

function describe(error: Error): string {
  const own = error instanceof HeadwaterError ? error.message : (error.stack ?? error.message)
  return error.cause instanceof Error ? `${own} (${describe(error.cause)})` : own
}
