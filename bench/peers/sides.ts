/** The sides that are compared: Headwater, its peers, and Automerge alone. */

export const peers = ["hocuspocus", "y-websocket", "automerge-repo", "tinybase"] as const
export type Side = "headwater" | (typeof peers)[number] | "bare"

export const titles: Readonly<Record<Side, string>> = {
  headwater: "Headwater",
  hocuspocus: "Hocuspocus 4.7",
  "y-websocket": "y-websocket 3.1",
  "automerge-repo": "automerge-repo 2.5",
  tinybase: "TinyBase 10",
  bare: "Automerge alone",
}

/** The promises of a side. Each field is a column of the table of promises. */
export interface Promises {
  /** Whether a write that counts as saved has been flushed to the device's disk (fsync or fdatasync). */
  readonly savedIsFlushed: string
  /** When the server acknowledges a change to the client. */
  readonly ack: string
  /** Whether others see a change only when it is on the server's disk. */
  readonly shownIsStored: string
  readonly history: string
  /** The result when two people write in one text at the same time. */
  readonly text: string
  /** The unit that can be opened, synced and shared by itself. */
  readonly unit: string
}

export const promises: Readonly<Record<Exclude<Side, "bare">, Promises>> = {
  headwater: {
    savedIsFlushed: "yes",
    ack: "after fdatasync",
    shownIsStored: "yes",
    history: "every change",
    text: "merged",
    unit: "note",
  },
  hocuspocus: {
    savedIsFlushed: "no",
    ack: "before it stores",
    shownIsStored: "no: 2 to 10 s later",
    history: "none",
    text: "merged",
    unit: "all notes",
  },
  "y-websocket": {
    savedIsFlushed: "no",
    ack: "none",
    shownIsStored: "no",
    history: "none",
    text: "merged",
    unit: "all notes",
  },
  "automerge-repo": {
    savedIsFlushed: "no",
    ack: "none",
    shownIsStored: "no",
    history: "every change",
    text: "merged",
    unit: "note",
  },
  tinybase: {
    savedIsFlushed: "no",
    ack: "none",
    shownIsStored: "no",
    history: "none",
    text: "the last one wins",
    unit: "all notes",
  },
}
