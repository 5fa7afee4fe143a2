/**
 * Says which principal an outbox record belongs to. A change that was made under one principal is never pushed as the
 * own change of another principal.
 */

import type { OutRecord, State } from "./records.ts"

/**
 * Returns the principal under which a change was made. A change that was made before any principal had connected
 * belongs to the first principal that connects; null until that principal is known.
 */
export function principalOf(
  { principal }: Pick<OutRecord, "principal">,
  state: Pick<State, "firstPrincipal">,
): string | null {
  return principal ?? state.firstPrincipal
}

/**
 * Whether a change may be pushed under the present principal. Changes of another principal wait in the outbox until
 * that principal connects again. An `adopt` record may be pushed by any principal.
 */
export function isOurs(
  owed: Pick<OutRecord, "principal" | "how">,
  state: Pick<State, "principal" | "firstPrincipal">,
): boolean {
  return owed.how === "adopt" || state.principal === null || principalOf(owed, state) === state.principal
}
