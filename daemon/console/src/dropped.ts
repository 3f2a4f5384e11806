// Files from a picker or a drop, each with the path that it had.

/** Folders within folders that are followed. */
const DEPTH_MAX = 32;

export interface Picked {
  path: string;
  file: File;
}

export const picked = (files: FileList | null): Picked[] =>
  [...(files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }));

/** What was dropped, folders walked through. */
export async function walked(data: DataTransfer): Promise<Picked[]> {
  // Asked for before the first wait: the browser empties the list when the event is over.
  const entries = [...data.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (entries.length === 0) return picked(data.files);
  const found: Picked[] = [];
  for (const entry of entries) await walk(entry, 0, found);
  return found;
}

async function walk(entry: FileSystemEntry, depth: number, found: Picked[]): Promise<void> {
  if (entry.isFile) {
    const file = await new Promise<File>((done, failed) => (entry as FileSystemFileEntry).file(done, failed));
    found.push({ path: entry.fullPath.replace(/^\//, ""), file });
  } else if (depth < DEPTH_MAX) {
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    // A reader gives a part at a time, and nothing at the end.
    for (;;) {
      const part = await new Promise<FileSystemEntry[]>((done, failed) => reader.readEntries(done, failed));
      if (part.length === 0) return;
      for (const child of part) await walk(child, depth + 1, found);
    }
  }
}
