/** UTF-16 units of a file's name: at most 240 bytes in UTF-8, and file systems take 255. */
const LENGTH = 80

/**
 * Windows keeps these names for devices, whatever their case and extension. (Microsoft, "Naming Files, Paths, and
 * Namespaces".)
 */
const device = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])$/i

/**
 * A text as a name of a file or folder that every system accepts, without an extension; empty when nothing is left of
 * it. Texts come from other people: the name must not lead out of its folder.
 */
export function fileName(text: string): string {
  const name = startOf(text.slice(0, 4 * LENGTH).normalize("NFC")) // first: a long text would make what follows slow
    .replace(/[\\/:*?"<>|\p{Cc}]/gu, "-")
    .replace(/^[.\s]+|[.\s]+$/gu, "")
  const [first = "", ...extensions] = name.split(".")
  return device.test(first.trimEnd()) ? [`${first.trimEnd()}-`, ...extensions].join(".") : name
}

/** The start of a text, cut where no character as a person sees it (a grapheme) is cut in two. */
function startOf(text: string): string {
  if (text.length <= LENGTH) return text
  const cut = new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text).containing(LENGTH)?.index
  if (cut !== undefined && cut > 0) return text.slice(0, cut)
  return text.slice(0, /\p{Surrogate}$/u.test(text.slice(0, LENGTH)) ? LENGTH - 1 : LENGTH) // one grapheme of 80 units
}

/**
 * A path as file systems compare it that tell neither upper from lower case nor one spelling of a character in Unicode
 * from the other (NFC, NFD). Two paths with the same key may be one file.
 */
export const pathKey = (path: string) => path.normalize("NFC").toUpperCase().toLowerCase().normalize("NFC")

/** Spellings of a path that are tried at most: those of six folders with letters that have two. */
const SPELLINGS = 64

/**
 * The spellings of a path under which a file system that tells them apart may have it, NFC first: each folder, and the
 * file, may come from another system.
 */
export function spellingsOf(path: string): readonly string[] {
  const [first = [], ...more] = path
    .split("/")
    .map((name) => [...new Set([name.normalize("NFC"), name.normalize("NFD")])])
  let paths = first
  for (const names of more) {
    paths = paths.flatMap((folder) => names.map((name) => `${folder}/${name}`))
    if (paths.length > SPELLINGS) return [path.normalize("NFC"), path.normalize("NFD")]
  }
  return paths
}
