/** Draws that reach a fault which is not mended yet, each with its reason. `known-faults.test.ts` shows it. */

/**
 * Records of which damage is drawn only where a run asks for it (`everyRecord`). With damaged changes and outbox records a world
 * does not always agree in the end: rows differ between replicas, or a workspace does not come to rest.
 */
export const notDamaged: ReadonlySet<string> = new Set(["change", "out", "outpage"])
/** What they would be counted as. */
export const notDrawn: ReadonlySet<string> = new Set([
  "device changes harmed",
  "outbox records harmed",
  "outbox pages harmed",
])
