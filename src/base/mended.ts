/** The notice for the app that a record on this device's disk was damaged. */

/** A damaged record that the library has made again. */
export interface Mended {
  /**
   * `row`: a row. `page`: many rows in one record. `out`: an outbox record. `outpage`: many outbox records in one
   * record. `stale`: the mark of an entity whose row must be made again. `bad`: the verdict on a bad change. `state`:
   * the cursor, and other facts about the relay and this workspace. `commit`: the number of the last commit.
   */
  readonly record: "row" | "page" | "stale" | "bad" | "out" | "outpage" | "state" | "commit"
  /** The entity of the record; absent for the kinds `page`, `outpage`, `state` and `commit`. */
  readonly entity?: string
}
