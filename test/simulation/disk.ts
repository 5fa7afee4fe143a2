/** A disk whose operations take simulated time, and end with the process that asked for them. */
import type { Disk, DiskFile } from "../../relay/disk.ts"
import { draw, type Lane, type Latency, type Process, type Scheduler } from "./clock.ts"

/** Syncs go through a lane, so that a schedule can hold them; the rest comes in any order. */
export function slowDisk(disk: Disk, process: Process, scheduler: Scheduler, latency: Latency, syncs: Lane): Disk {
  const random = scheduler.random(`disk of ${process.name}`)

  const later = <T>(what: string, run: () => Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      if (process.alive)
        scheduler.after(draw(random, latency), `disk ${what}`, () => void run().then(resolve, reject), process)
    })
  const synced = (what: string, run: () => Promise<void>): Promise<void> =>
    new Promise((resolve, reject) => {
      if (process.alive) syncs.push(what, () => void run().then(resolve, reject), process)
    })

  const slowFile = (path: string, file: DiskFile): DiskFile => ({
    size: () => later(`size ${path}`, () => file.size()),
    read: (at, length) => later(`read ${path} ${at} ${length}`, () => file.read(at, length)),
    write: (at, bytes) => {
      const copy = bytes.slice()
      return later(`write ${path} ${at} ${copy.length}`, () => file.write(at, copy))
    },
    truncate: (size) => later(`truncate ${path} ${size}`, () => file.truncate(size)),
    sync: () => synced(`sync ${path}`, () => file.sync()),
    close: () => later(`close ${path}`, () => file.close()),
  })

  return {
    lock: async (folder) => {
      const release = await later(`lock ${folder}`, () => disk.lock(folder))
      return () => later(`release ${folder}`, release)
    },
    list: (folder) => later(`list ${folder}`, () => disk.list(folder)),
    makeFolder: (folder) => later(`folder ${folder}`, () => disk.makeFolder(folder)),
    open: async (path) => slowFile(path, await later(`open ${path}`, () => disk.open(path))),
    read: async (path) => slowFile(path, await later(`read ${path}`, () => disk.read(path))),
    rename: (from, to) => later(`rename ${from} ${to}`, () => disk.rename(from, to)),
    remove: (path) => later(`remove ${path}`, () => disk.remove(path)),
    syncFolder: (folder) => synced(`sync ${folder}`, () => disk.syncFolder(folder)),
  }
}
