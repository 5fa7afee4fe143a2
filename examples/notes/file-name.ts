/** The most bytes of a name in UTF-8. File systems take 255, and a number and an extension are added. */
const BYTES = 240

/** The most UTF-16 units of a name made from a title. In UTF-8 they take at most `BYTES`. */
const LENGTH = BYTES / 3

/**
 * Windows reserves these names for devices, in upper or lower case and with any extension. (Microsoft, "Naming Files,
 * Paths, and Namespaces".)
 */
const device = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])$/i

/**
 * Turns a text into a name of a file or folder that every system accepts, without an extension; empty when nothing is
 * left of the text. Texts come from other people, so the name must not lead out of its folder. `isName`: the text
 * already was a file's name, which is kept whole if possible.
 */
export function fileName(text: string, isName = false): string {
  const start = text.slice(0, 4 * LENGTH).normalize("NFC") // cut first: a long text would make the following steps slow
  const fits = isName && text.length <= 4 * LENGTH && new TextEncoder().encode(start).length <= BYTES
  const name = (fits ? start : startOf(start)).replace(/[\\/:*?"<>|\p{Cc}]/gu, "-").replace(/^[.\s]+|[.\s]+$/gu, "")
  const [first = "", ...extensions] = name.split(".")
  return device.test(first.trimEnd()) ? [`${first.trimEnd()}-`, ...extensions].join(".") : name
}

/** Returns the start of a text. The cut never splits a character as a person sees it (a grapheme). */
function startOf(text: string): string {
  if (text.length <= LENGTH) return text
  const cut = new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text).containing(LENGTH)?.index
  if (cut !== undefined && cut > 0) return text.slice(0, cut)
  // the first grapheme alone is longer than `LENGTH`: cut inside it, but not inside a surrogate pair
  return text.slice(0, /\p{Surrogate}$/u.test(text.slice(0, LENGTH)) ? LENGTH - 1 : LENGTH)
}

/**
 * Returns a path as some file systems compare paths: without a difference between upper and lower case, or between the
 * Unicode spellings of a character (NFC, NFD). Two paths with the same key may be one file.
 */
export const pathKey = (path: string) => path.normalize("NFC").toUpperCase().toLowerCase().normalize("NFC")

/** The most spellings of a path that are tried: enough for six folders whose names have two spellings each. */
const SPELLINGS = 64

/**
 * Returns the Unicode spellings of a path, NFC first. A file system that distinguishes spellings may have any of them:
 * each folder and the file may come from another system, and so have another spelling.
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
