/** Whose an outbox record is: what was made under one principal is never pushed under the name of another. */

import type { OutRecord, State } from "./records.ts"

/**
 * The principal under whom a change was made. One that was made before anybody had connected belongs to the first
 * principal that did; null until then.
 */
export function principalOf(
  { principal }: Pick<OutRecord, "principal">,
  state: Pick<State, "firstPrincipal">,
): string | null {
  return principal ?? state.firstPrincipal
}

/**
 * Whether a change may be pushed under the present principal. What another one left in the outbox waits until it is back,
 * except what is adopted, which anybody may bring.
 */
export function isOurs(
  owed: Pick<OutRecord, "principal" | "how">,
  state: Pick<State, "principal" | "firstPrincipal">,
): boolean {
  return owed.how === "adopt" || state.principal === null || principalOf(owed, state) === state.principal
}
