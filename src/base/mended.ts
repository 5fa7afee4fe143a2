/** What an app is told when a record of the device was damaged. */

/** A damaged record that the library has made again. */
export interface Mended {
  /**
   * `page`, `outpage`: many rows, or many outbox records, in one record. `stale`: the mark of an entity whose row is to
   * be made again. `bad`: the verdict on a change. `out`: an outbox record. `state`: the cursor and what else the
   * workspace knows of the relay. `commit`: the counter of commits.
   */
  readonly record: "row" | "page" | "stale" | "bad" | "out" | "outpage" | "state" | "commit"
  /** The entity that the record belongs to, if it belongs to one. */
  readonly entity?: string
}
