import type { StandardSchemaV1 } from "@standard-schema/spec"

/**
 * The closed list of error codes. `docs/errors.md` says what each means and what to do; a test keeps the two lists
 * equal. Codes are stable, because programs switch on them. Messages are for people and may change.
 */
export const codes = [
  // about what an app asked for
  "ID_INVALID",
  "URL_INVALID",
  "NAME_MISMATCH",
  "ENTITY_EXISTS",
  "ENTITY_NOT_FOUND",
  "ENTITY_DELETED",
  "ENTITY_PURGED",
  "COLLECTION_MISMATCH",
  "SCHEMA_ISSUES",
  "SCHEMA_ASYNC",
  "UPDATE_ASYNC",
  "EDIT_MIXED",
  "SPLICE_RANGE",
  "FIELD_KIND",
  "VALUE_UNSUPPORTED",
  "TOO_LARGE",
  "READ_ONLY",
  // about this device
  "STORE_FAILED",
  "STORE_MOVED",
  "STORE_IN_USE",
  "STORE_FORMAT",
  "STORE_GONE",
  "WASM_FAILED",
  "DOCUMENT_FAILED",
  "PRINCIPAL_CHANGED",
  "CLOSED",
  // about the relay and the connection to it
  "NO_RELAY",
  "RELAY_UNREACHABLE",
  "PROTOCOL_VERSION",
  "MESSAGE_BAD",
  "FORBIDDEN",
  "TOKEN_EXPIRED",
  "QUOTA",
  "RATE",
  "LOG_FAILED",
  // verdicts of a relay or a replica on a change
  "CHUNK_BAD",
  "OP_REFERENCE",
  "DEPS_UNKNOWN",
  "SEQ_GAP",
  "SEQ_TAKEN",
  "START_OP",
  "ACTOR_BOUND",
  "HEADS_MOVED",
  "DUPLICATE",
  "CURSOR_UNKNOWN",
  "REJECTED",
] as const

export type Code = (typeof codes)[number]

export interface Details {
  readonly entity?: string | undefined
  readonly field?: string | undefined
  readonly issues?: readonly StandardSchemaV1.Issue[] | undefined
  /** The time from which trying again makes sense: ms since 1970. */
  readonly retryAt?: number | undefined
  readonly cause?: unknown
}

/** The only error class of this library. `code` says what happened, `docs/errors.md#<code>` says what to do. */
export class HeadwaterError extends Error {
  override readonly name = "HeadwaterError"
  readonly code: Code
  readonly entity?: string
  readonly field?: string
  readonly issues?: NonNullable<Details["issues"]>
  readonly retryAt?: number

  constructor(code: Code, message: string, details: Details = {}) {
    super(`${code}: ${message}`, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    if (details.entity !== undefined) this.entity = details.entity
    if (details.field !== undefined) this.field = details.field
    if (details.issues !== undefined) this.issues = details.issues
    if (details.retryAt !== undefined) this.retryAt = details.retryAt
  }
}

/** Whether this version knows the code. */
export const isCode = (code: unknown): code is Code => codes.includes(code as Code)
