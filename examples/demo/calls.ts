/**
 * The calls that the demo sends to a device's process over Node's IPC, one at a time. Besides its answers, the process
 * sends "moved" whenever a note was saved, stored or received.
 */
export interface Calls {
  /** Imports every Markdown file under a folder. */
  importFolder(folder: string): Promise<{ created: number; problems: readonly string[] }>
  /** Returns the id of a note whose body has a long paragraph. If no body has one, returns the id of any note. */
  pick(): string | undefined
  /** Sets the title, and inserts text at the start or the end of the note's first long paragraph. */
  edit(id: string, title: string, insert: string, where: "start" | "end"): Promise<void>
  /** Resolves when the relay has stored every change of this device, and the device shows every change of the relay. */
  settled(): Promise<void>
  pending(): number
  connected(): boolean
  paragraph(id: string): Promise<{ title: string; paragraph: string }>
  heads(): Promise<Readonly<Record<string, readonly string[]>>>
  /** Returns what two devices compare: every note without the metadata that differs between devices, and all heads. */
  state(): Promise<{ rows: readonly object[]; heads: Readonly<Record<string, readonly string[]>>; pending: number }>
  close(): Promise<void>
}

export interface Question {
  readonly call: keyof Calls
  readonly args: readonly unknown[]
}
export type Answer = { readonly result: unknown } | { readonly failed: string }
