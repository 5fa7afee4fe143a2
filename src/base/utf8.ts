/** Counts the bytes that texts take in UTF-8, without encoding them. */

/** Returns how many bytes a character takes in UTF-8, from its code point. */
export const utf8Size = (point: number): number => (point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4)

/** Returns how many bytes a text takes in UTF-8. The text must have no half of a surrogate pair. */
export function utf8Length(text: string): number {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    // Each half of a surrogate pair takes two of the pair's four bytes; other units take three bytes from U+0800 on.
    if (unit >= 0x80) bytes += unit < 0x800 || (unit >= 0xd800 && unit <= 0xdfff) ? 1 : 2
  }
  return bytes
}
