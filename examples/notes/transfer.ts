import { element } from "./dom.ts"
import type { Target } from "./export.ts"
import type { FileToImport, ImportReport } from "./import.ts"
import type { Notes } from "./notes.ts"
import { report } from "./report.ts"

/**
 * Handles import and export: the buttons, dropped and pasted files, and the reports. The code of both is loaded when it
 * is first used.
 */
export function showTransfer(notes: Notes, busy: (message: string | undefined) => void): void {
  const chosen = (input: HTMLInputElement) => () => {
    void importFiles([...(input.files ?? [])].map(asFile))
    input.value = "" // otherwise choosing the same file again would cause no change event
  }
  for (const [button, input] of [
    ["import-files", "files"],
    ["import-folder", "folder"],
  ] as const) {
    const picker = element(input, HTMLInputElement)
    element(button, HTMLElement).addEventListener("click", () => picker.click())
    picker.addEventListener("change", chosen(picker))
  }
  element("export", HTMLElement).addEventListener("click", () => void exportFiles())
  // the browser inserts text that is dropped on an input; after a drop anywhere else it would leave the page, so
  // prevent that
  const isText = ({ dataTransfer, target }: DragEvent) =>
    dataTransfer?.types.includes("Files") !== true &&
    (target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement)
  document.addEventListener("dragover", (event) => {
    if (!isText(event)) event.preventDefault()
  })
  document.addEventListener("drop", (event) => {
    if (isText(event)) return
    event.preventDefault()
    receive([...(event.dataTransfer?.files ?? [])])
  })
  document.addEventListener("paste", (event) => {
    const data = event.clipboardData
    if (!data?.files.length || data.types.includes("text/plain")) return // office programs add a picture of copied text
    event.preventDefault()
    receive([...data.files])
  })

  function receive(files: readonly File[]): void {
    const images = files.filter(({ type }) => type.startsWith("image/"))
    const others = files.filter((file) => !images.includes(file))
    if (others.length > 0) void importFiles(files.map(asFile))
    else if (images.length > 0) {
      const names = images.map(({ name }) => name || "The image")
      report("Notes cannot hold images yet", [`${names.join(", ")}: not added. Write a link to the image instead.`])
    }
  }

  async function importFiles(all: readonly FileToImport[]): Promise<void> {
    const files = all.filter(({ path }) => /\.(md|markdown|txt)$/i.test(path))
    try {
      const { importNotes } = await import("./import.ts")
      const done = await importNotes(notes, files, (n) => busy(`Importing ${n} of ${files.length}`))
      const problems = done.problems.map(({ path, why }) => `${path}: ${why}`)
      const remarks = done.remarks.map(({ path, what }) => `${path}: imported; ${what}`)
      report(summary(done, all.length - files.length), [...problems, ...remarks])
    } catch (error) {
      report("The import failed", [(error as Error).message])
    } finally {
      busy(undefined)
    }
  }

  async function exportFiles(): Promise<void> {
    try {
      const { exportNotes } = await import("./export.ts")
      const folder = await pickFolder()
      busy("Exporting")
      const files: { path: string; text: string }[] = []
      const archive: Target = {
        read: async () => undefined,
        write: async (path, text) => void files.push({ path, text }),
      }
      const target = folder === undefined ? archive : (await import("./folder.ts")).inFolder(folder)
      const { exported, problems } = await exportNotes(notes, target)
      if (folder === undefined) download((await import("./zip.ts")).zip(files), "notes.zip")
      const not = problems.length > 0 ? `, ${problems.length} could not be exported:` : ""
      report(
        counted(exported, "exported") + not,
        problems.map(({ path, why }) => `${path}: ${why}`),
      )
    } catch (error) {
      if ((error as Error).name !== "AbortError") report("The export failed", [(error as Error).message])
    } finally {
      busy(undefined)
    }
  }
}

const asFile = (file: File): FileToImport => ({
  // the chosen folder's own name is not part of a note's path
  path: file.webkitRelativePath.split("/").slice(1).join("/") || file.name,
  bytes: async () => new Uint8Array(await file.arrayBuffer()),
})

function summary({ created, updated, unchanged, problems }: ImportReport, skipped: number): string {
  const parts = [
    counted(created, "imported"),
    updated > 0 && `${updated} updated`,
    unchanged > 0 && `${unchanged} here already`,
    skipped > 0 && `${skipped} other file${skipped === 1 ? "" : "s"} skipped`,
    problems.length > 0 && `${problems.length} could not be imported:`,
  ]
  return parts.filter(Boolean).join(", ")
}

const counted = (n: number, what: string) => `${n} note${n === 1 ? "" : "s"} ${what}`

/** Shows the folder picker of the File System Access API (WICG). Undefined: the browser has none. */
async function pickFolder(): Promise<FileSystemDirectoryHandle | undefined> {
  const { showDirectoryPicker } = window as { showDirectoryPicker?: (o: object) => Promise<FileSystemDirectoryHandle> }
  return showDirectoryPicker?.({ id: "notes", mode: "readwrite" })
}

function download(blob: Blob, name: string): void {
  const link = document.createElement("a")
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}
