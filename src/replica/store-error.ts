/** Errors of the disk, in the form in which a replica's steps reject with them. */
import { HeadwaterError } from "../base/errors.ts"

/** Whether the error says that the disk cannot be read now, or is gone. */
export const isOfDisk = (error: unknown): error is HeadwaterError =>
  error instanceof HeadwaterError && (error.code === "STORE_FAILED" || error.code === "STORE_GONE")

/** Turns whatever a store throws into a `HeadwaterError` with a `STORE_` code. */
export function storeError(cause: unknown): HeadwaterError {
  if (cause instanceof HeadwaterError && cause.code.startsWith("STORE_")) return cause
  return new HeadwaterError("STORE_FAILED", "this device could not save the write; earlier writes are untouched", {
    cause,
  })
}
