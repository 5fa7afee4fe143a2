/** Checks the ids that an app passes. */
import { HeadwaterError } from "../base/errors.ts"
import { isId } from "../wire/protocol.ts"

/**
 * Throws `ID_INVALID` unless this is a valid id of an entity or a workspace. `of`: the subject of the error's sentence.
 */
export function checkId(id: unknown, of: string): asserts id is string {
  if (!isId(id)) {
    throw new HeadwaterError("ID_INVALID", `${of} must match [A-Za-z0-9_-]{1,64}; this does not: ${JSON.stringify(id)}`)
  }
}
