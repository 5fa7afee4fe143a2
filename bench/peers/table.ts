/** Prints the results as tables in Markdown. */
import { type Figures, judge, withSpread } from "./figures.ts"
import { promises, type Side, titles } from "./sides.ts"
import type { Work } from "./work.ts"

const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`
const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n")

/** Returns a table with a line for each row of each work: the figures of all sides, the goal, and whether it is met. */
export function resultsTable(results: ReadonlyMap<Work, Figures>): string {
  const sides = Object.keys(titles) as Side[]
  const rows = [...results].flatMap(([work, figures]) =>
    work.rows
      .filter(({ size, measure }) => figures.values(size, "headwater", measure).length > 0)
      .map(({ title, unit, measure, size, goal }) => [
        unit === "" ? title : `${title}, ${unit}`,
        ...sides.map((side) => withSpread(figures.values(size, side, measure))),
        goal?.says ?? "",
        (goal && judge(goal, figures)) ?? "",
      ]),
  )
  return table(["work", ...sides.map((side) => titles[side]), "goal", "Headwater"], rows)
}

/** Returns a table of what each side promises. The figures need it, because the sides do not promise the same. */
export function promisesTable(): string {
  const heads = {
    savedIsFlushed: "a saved write is on the device's disk (fsync)",
    ack: "the client is told that the server has a change",
    shownIsStored: "others see it only when it is on the server's disk",
    history: "history",
    text: "two people write in one text",
    unit: "can be opened and shared by itself",
  } as const
  const keys = Object.keys(heads) as (keyof typeof heads)[]
  const rows = Object.entries(promises).map(([side, its]) => [titles[side as Side], ...keys.map((key) => its[key])])
  return table(["", ...keys.map((key) => heads[key])], rows)
}
