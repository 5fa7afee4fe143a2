import type { Row } from "./notes.ts"

/** Returns the date from a note's front matter, as it is written there: `updated`, else `date`, else `created`. */
export function dateIn(front: Readonly<Record<string, unknown>>): string | undefined {
  for (const key of ["updated", "date", "created"]) {
    if (Object.hasOwn(front, key) && timeOf(front[key]) !== undefined) return String(front[key])
  }
  return undefined
}

const fileTimes = new WeakMap<Row, number>()

/**
 * Returns when the note was last changed, in ms since 1970. Until the note is edited here, this is the date from its
 * file.
 */
export function changedAt(row: Row): number {
  if (row.fileDate === undefined) return row.$updatedAt
  let time = fileTimes.get(row) // cached, because a list sorts by it
  if (time === undefined) fileTimes.set(row, (time = timeOf(row.fileDate) ?? row.$updatedAt))
  return time
}

/** Returns when the note was created, in ms since 1970. */
export function createdAt(row: Row): number {
  const { created, date } = row as { readonly created?: unknown; readonly date?: unknown }
  return timeOf(created) ?? timeOf(date) ?? row.$createdAt
}

/** Puts both dates into words. */
export function datesOf(row: Row): string {
  const day = (ms: number) => new Date(ms).toLocaleDateString([], { dateStyle: "medium" })
  return `Created ${day(createdAt(row))} · changed ${day(changedAt(row))}`
}

const WRITTEN =
  /^(\d{4})[-/](\d\d?)[-/](\d\d?)(?:(?:T|,?\s+)(\d\d?):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?(?:\s*([ap]m))?\s*(Z|[+-]\d\d(?::?\d\d)?)?)?$/i

/**
 * Matches 20261102, 202611020905 or 20261102T090507Z: the basic format of ISO 8601, and the numbers that people often
 * use as names of notes.
 */
const COMPACT = /^(\d{4})(\d\d)(\d\d)(?:T?(\d\d)(\d\d)(\d\d)?(Z|[+-]\d\d(?::?\d\d)?)?)?$/i

/**
 * Reads a date as front matter has it, and returns ms since 1970. It may be ISO 8601 or close to it, in the zone of
 * this device unless it names a zone, or a UNIX time in seconds or milliseconds. Returns undefined for anything else,
 * and for year 1, which some programs write when there is no date.
 */
export function timeOf(value: unknown): number | undefined {
  const text = typeof value === "string" || typeof value === "number" ? String(value).trim() : ""
  if (/^\d{10}(?:\d{3})?$/.test(text)) return Number(text.padEnd(13, "0"))
  const spaced = text.replace(COMPACT, (_, y, m, d, h, min, s = "00", zone = "") =>
    h === undefined ? `${y}-${m}-${d}` : `${y}-${m}-${d} ${h}:${min}:${s}${zone}`,
  )
  const [, year, month, day, written = "0", minute = "0", second = "0", half, zone] = WRITTEN.exec(spaced) ?? []
  const hour = half === undefined ? written : (Number(written) % 12) + (/^p/i.test(half) ? 12 : 0)
  const [y, m, d] = [Number(year ?? 0), Number(month) - 1, Number(day)]
  if (y < 100) return undefined
  const isDay = new Date(Date.UTC(y, m, d)).getUTCDate() === d && m >= 0 && m < 12
  if (!isDay || Number(hour) > 24 || Number(minute) > 59 || Number(second) > 60) return undefined
  if (zone === undefined) return new Date(y, m, d, Number(hour), Number(minute), Number(second)).getTime()
  const [, sign = "+", hours = "0", minutes = "0"] = /^([+-])(\d\d):?(\d\d)?$/.exec(zone) ?? []
  const offset = (Number(hours) * 60 + Number(minutes)) * (sign === "-" ? -60_000 : 60_000)
  return Date.UTC(y, m, d, Number(hour), Number(minute), Number(second)) - offset
}
