/** By which splices a text has become another text. */
import type { TextSplice } from "../schema/types.ts"
import { difference } from "./difference.ts"

/** The part of an Automerge patch that is read here. `path` begins with the field's key. */
export interface TextPatch {
  readonly action: string
  readonly path: readonly (string | number)[]
  readonly value?: unknown
  readonly length?: number
}

/**
 * Returns the splices by which the text under `key` has become `after`. They are those of Automerge's patches, so that a
 * caret keeps its place. If the patches do not lead to `after` (a field with conflicting values shows another text than
 * Automerge does), they are the difference of both texts.
 */
export function splicesOf(key: string, before: string, after: string, patches: readonly TextPatch[]): TextSplice[] {
  const splices = patches.flatMap((patch) => spliceOf(key, patch) ?? [])
  return apply(before, splices) === after ? splices : splicesBetween(before, after)
}

/** Returns the splices from the end of the text to its start, so that none moves the place of the next one. */
export const splicesBetween = (before: string, after: string): TextSplice[] => difference(before, after).reverse()

function spliceOf(key: string, { action, path, value, length = 1 }: TextPatch): TextSplice | undefined {
  const [field, at] = path
  if (field !== key || path.length !== 2 || typeof at !== "number") return undefined
  if (action === "splice" && typeof value === "string") return { at, remove: 0, insert: value }
  return action === "del" ? { at, remove: length, insert: "" } : undefined
}

function apply(text: string, splices: readonly TextSplice[]): string {
  let now = text
  for (const { at, remove, insert } of splices) now = now.slice(0, at) + insert + now.slice(at + remove)
  return now
}
