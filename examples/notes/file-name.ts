/** Bytes of a name in UTF-8: file systems take 255, with a number and an extension. */
const BYTES = 240

/** UTF-16 units of a name that is made of a title: at most as many bytes. */
const LENGTH = BYTES / 3

/**
 * Windows keeps these names for devices, whatever their case and extension. (Microsoft, "Naming Files, Paths, and
 * Namespaces".)
 */
const device = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])$/i

/**
 * A text as a name of a file or folder that every system accepts, without an extension; empty when nothing is left of
 * it. Texts come from other people: the name must not lead out of its folder. `isName`: the text was a file's name
 * already, which is kept whole if it can be.
 */
export function fileName(text: string, isName = false): string {
  const start = text.slice(0, 4 * LENGTH).normalize("NFC") // first: a long text would make what follows slow
  const fits = isName && text.length <= 4 * LENGTH && new TextEncoder().encode(start).length <= BYTES
  const name = (fits ? start : startOf(start)).replace(/[\\/:*?"<>|\p{Cc}]/gu, "-").replace(/^[.\s]+|[.\s]+$/gu, "")
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
