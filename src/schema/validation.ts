/** Validates a create or an update with the collection's schema. */
import type { StandardSchemaV1 as Std } from "@standard-schema/spec"
import { HeadwaterError } from "../base/errors.ts"
import type { AnyDef } from "./schema.ts"
import { isReserved, isThenable } from "./values.ts"

type Issues = readonly Std.Issue[]

/**
 * Returns the fields of a create: the schema's output, and those keys of the input that the output lacks. Throws
 * `SCHEMA_ISSUES` with the schema's issues, or when the input or the output has a key that no field can have (`id`,
 * `$…`, `@…`). Throws `SCHEMA_ASYNC`.
 */
export function validated(def: AnyDef | undefined, input: unknown): Record<string, unknown> {
  const given = plainObject(input, "an input")
  refuseReserved(given)
  const { value, issues } = run(def, given)
  if (issues.length > 0) throw refused(issues)
  const output = plainObject(value, "the schema's output")
  refuseReserved(output)
  return { ...given, ...output }
}

/** Throws `SCHEMA_ISSUES`, with one issue for each key that belongs to rows or documents and cannot be a field. */
export function refuseReserved(fields: Readonly<Record<string, unknown>>): void {
  const keys = Object.keys(fields).filter((key) => isReserved(key) && fields[key] !== undefined)
  if (keys.length === 0) return
  throw refused(keys.map((key) => ({ message: `no field can be called ${JSON.stringify(key)}`, path: [key] })))
}

/**
 * Throws `SCHEMA_ISSUES` when the schema finds issues after an update that it does not find before the update. Issues
 * that the entity had before are allowed: a value that another version of the app wrote must not prevent all updates.
 * Throws `SCHEMA_ASYNC`.
 */
export function refuseAddedIssues(
  def: AnyDef | undefined,
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): void {
  const { issues } = run(def, after)
  if (issues.length === 0) return
  const known = new Set(run(def, before).issues.map(identityOf))
  const added = issues.filter((issue) => !known.has(identityOf(issue)))
  if (added.length > 0) throw refused(added)
}

/** Runs the schema on a value. When the schema throws, its error becomes the only issue. */
function run(def: AnyDef | undefined, value: unknown): { value: unknown; issues: Issues } {
  if (def?.schema === undefined) return { value, issues: [] }
  let result: Std.Result<unknown> | Promise<Std.Result<unknown>>
  try {
    result = def.schema["~standard"].validate(value)
  } catch (cause) {
    return { value, issues: [{ message: `the schema threw: ${(cause as Partial<Error> | null)?.message ?? cause}` }] }
  }
  if (isThenable(result)) {
    result.then(undefined, () => {}) // a rejection is ignored, because `SCHEMA_ASYNC` is thrown anyway
    const message = `the schema of ${def.name} is asynchronous, but a write needs its answer at once: validate first`
    throw new HeadwaterError("SCHEMA_ASYNC", message)
  }
  return result.issues === undefined ? { value: result.value, issues: [] } : { value, issues: result.issues }
}

function plainObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw refused([{ message: `${what} must be an object` }])
}

const keyOf = (segment: PropertyKey | Std.PathSegment): string =>
  String(typeof segment === "object" ? segment.key : segment)

/** Identifies an issue: two issues are the same if this function returns the same string for both. */
const identityOf = ({ path, message }: Std.Issue): string => JSON.stringify([path?.map(keyOf), message])

function refused(issues: Issues): HeadwaterError {
  const [first] = issues
  const field = first?.path?.[0] === undefined ? undefined : keyOf(first.path[0])
  const where = field === undefined ? "" : `${field}: `
  return new HeadwaterError("SCHEMA_ISSUES", `${where}${first?.message ?? "refused"}`, { field, issues })
}
