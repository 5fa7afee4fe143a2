/** Draws the cost of a unit of a work over the size of the work. Both axes are logarithmic. Each side has a line. */
import { median } from "../figures.ts"
import { type Figures, short } from "./figures.ts"
import { type Side, titles } from "./sides.ts"
import type { Work } from "./work.ts"

const [WIDTH, HEIGHT] = [640, 360]
const frame = { left: 70, right: 150, top: 40, bottom: 46 }
const colors: Readonly<Record<Side, string>> = {
  headwater: "#0969da",
  hocuspocus: "#cf222e",
  "y-websocket": "#bf8700",
  "automerge-repo": "#8250df",
  tinybase: "#1a7f37",
  bare: "#6e7781",
}

interface Line {
  readonly side: Side
  readonly points: readonly { readonly size: number; readonly cost: number }[]
}

/** Returns the plot as SVG. It is readable on light and on dark pages, because it has a background of its own. */
export function plot(work: Work, figures: Figures): string {
  const lines = linesOf(work, figures).filter(({ points }) => points.length > 0)
  const costs = lines.flatMap(({ points }) => points.map(({ cost }) => cost))
  // The axis ends at powers of ten, at least one apart.
  const low = Math.floor(Math.log10(Math.min(...costs)))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...costs))))
  const [smallest, largest] = [work.sizes[0]!, work.sizes.at(-1)!]
  const x = (size: number) =>
    frame.left + (Math.log(size / smallest) / Math.log(largest / smallest)) * (WIDTH - frame.left - frame.right)
  const y = (cost: number) =>
    HEIGHT - frame.bottom - ((Math.log10(cost) - low) / (high - low)) * (HEIGHT - frame.top - frame.bottom)

  const right = WIDTH - frame.right
  const grid = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)).map(
    (cost) =>
      `<line x1="${frame.left}" x2="${right}" y1="${at(y(cost))}" y2="${at(y(cost))}" stroke="#d0d7de"/>` +
      text(frame.left - 8, y(cost) + 4, short(cost), "end"),
  )
  const ticks = work.sizes.map((size) => text(x(size), HEIGHT - frame.bottom + 18, size.toLocaleString("en"), "middle"))
  const drawn = lines.map(({ side, points }) => {
    const path = points.map(({ size, cost }) => `${at(x(size))},${at(y(cost))}`).join(" ")
    const dots = points.map(
      ({ size, cost }) =>
        `<circle cx="${at(x(size))}" cy="${at(y(cost))}" r="3" fill="${colors[side]}">` +
        `<title>${titles[side]}, ${size.toLocaleString("en")}: ${short(cost)} ${work.plot.unit}</title></circle>`,
    )
    return `<polyline points="${path}" fill="none" stroke="${colors[side]}" stroke-width="2"/>${dots.join("")}`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<title>${work.plot.title}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(frame.left, 22, `${work.plot.title} (${work.plot.unit})`, "start", ' font-size="14"'),
    ...grid,
    ...ticks,
    text((frame.left + right) / 2, HEIGHT - 10, work.counts, "middle"),
    ...drawn,
    ...names(lines, y),
    "</svg>\n",
  ].join("\n")
}

function linesOf({ sizes, plot: { measure, whole } }: Work, figures: Figures): Line[] {
  return (Object.keys(titles) as Side[]).map((side) => ({
    side,
    points: sizes.flatMap((size) => {
      const values = figures.values(size, side, measure)
      return values.length > 0 ? [{ size, cost: median(values) / (whole ? 1 : size) }] : []
    }),
  }))
}

/** Writes each side's name beside the end of its line, moved down where two names would overlap. */
function names(lines: readonly Line[], y: (cost: number) => number): string[] {
  const LEADING = 15
  let lowest = Number.NEGATIVE_INFINITY
  return lines
    .map(({ side, points }) => ({ side, end: y(points.at(-1)!.cost) + 4 }))
    .sort((a, b) => a.end - b.end)
    .map(({ side, end }) => {
      lowest = Math.max(end, lowest + LEADING)
      return text(WIDTH - frame.right + 12, lowest, titles[side], "start", ` fill="${colors[side]}"`)
    })
}

const at = (place: number) => place.toFixed(1)
const text = (x: number, y: number, content: string, anchor: string, more = "") =>
  `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}"${more}>${content}</text>`
