/** A text on a screen, as editor bindings see it. */
import type { TextSplice } from "../schema/types.ts"

/**
 * One `text()` field on a screen, in UTF-16 units. Every editor binding is written on it.
 *
 * A splice shows in `value` before `splice` returns. Whoever applies the splices that `subscribe` brings, one after the
 * other, to the `value` that it had when it subscribed, has the text of all who do the same.
 */
export interface LiveText {
  /** The text as it is on the screen; "" when the entity has none. */
  readonly value: string
  /**
   * Replaces `remove` units from the offset `at` on with `insert`. Throws `SPLICE_RANGE`, `READ_ONLY`, `ENTITY_DELETED`,
   * `TOO_LARGE`, `CLOSED`, and the other codes of `Handle.update`; then nothing has changed.
   */
  splice(at: number, remove: number, insert?: string): void
  /**
   * Calls `f` after the text has changed, by whomever. An edit calls it before it returns; an edit that is made inside `f`
   * is told once everybody has heard of the edit before. Each splice is one in the text that the splices before it have
   * made. `from`: `here` for this tab, also for another handle or binding; `tab` for another tab of this device.
   * Returns the function that ends the subscription.
   */
  subscribe(f: (splices: readonly TextSplice[], from: "here" | "tab" | "relay") => void): () => void
}
