/** What the demo asks of a replica's process, one call at a time, over Node's IPC; between answers it says "moved". */
export interface Calls {
  /** Imports every Markdown file under a folder. */
  importFolder(folder: string): Promise<{ created: number; problems: readonly string[] }>
  /** The id of a note whose body has a paragraph of some length. */
  pick(): string | undefined
  /** Writes a title, and at the start or the end of the note's first long paragraph. */
  edit(id: string, title: string, insert: string, where: "start" | "end"): Promise<void>
  /** Everything saved is at the relay and everything at the relay is here. */
  settled(): Promise<void>
  pending(): number
  connected(): boolean
  paragraph(id: string): Promise<{ title: string; paragraph: string }>
  heads(): Promise<Readonly<Record<string, readonly string[]>>>
  /** For comparing: every row without what differs by nature from device to device, and the heads behind it. */
  state(): Promise<{ rows: readonly object[]; heads: Readonly<Record<string, readonly string[]>>; pending: number }>
  close(): Promise<void>
}

export interface Question {
  readonly call: keyof Calls
  readonly args: readonly unknown[]
}
export type Answer = { readonly result: unknown } | { readonly failed: string }
