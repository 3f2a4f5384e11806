// The small pictures of a film: their places are read once, and each sheet of them when it is wanted first.

/** A part of a sheet, and the time that it stands for. */
export interface Tile {
  end_s: number;
  sheet: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

/** A tile with the picture that it is a part of. */
export interface Found extends Tile {
  image: ImageBitmap;
}

/** Sheets that are kept as pictures; each takes a few megabytes. */
const SHEETS_MAX = 6;

export class Storyboard {
  private tiles?: Promise<Tile[]>;
  private sheets = new Map<string, Promise<ImageBitmap>>();
  private closed = false;

  /** `fetch` gets a file beside the film's playlist, and waits for one that is being made. */
  constructor(private fetch: (name: string) => Promise<Response>) {}

  /** The picture at a time; none while there is none. */
  async at(seconds: number): Promise<Found | undefined> {
    this.tiles ??= this.load();
    const tile = (await this.tiles).find((tile) => seconds < tile.end_s);
    if (!tile || this.closed) return undefined;
    return { ...tile, image: await this.sheet(tile.sheet) };
  }

  close(): void {
    this.closed = true;
    for (const name of [...this.sheets.keys()]) this.drop(name);
  }

  private async load(): Promise<Tile[]> {
    const answer = await this.fetch("storyboard.vtt").catch(() => undefined);
    return answer?.ok ? tilesIn(await answer.text()) : [];
  }

  private sheet(name: string): Promise<ImageBitmap> {
    const kept = this.sheets.get(name);
    const image = kept ?? this.picture(name);
    // At the end again, as it was used last.
    this.sheets.delete(name);
    this.sheets.set(name, image);
    const oldest = this.sheets.keys().next().value;
    if (this.sheets.size > SHEETS_MAX && oldest) this.drop(oldest);
    if (!kept) image.catch(() => this.sheets.delete(name));
    return image;
  }

  private async picture(name: string): Promise<ImageBitmap> {
    const answer = await this.fetch(name);
    if (!answer.ok) throw new Error(`the sheet ${name} was not given: ${answer.status}`);
    return createImageBitmap(await answer.blob());
  }

  private drop(name: string): void {
    this.sheets.get(name)?.then(
      (image) => image.close(),
      () => undefined,
    );
    this.sheets.delete(name);
  }
}

/** The tiles of a WebVTT whose cues are `sheet.jpg#xywh=x,y,width,height` (W3C Media Fragments §4.2.2). */
function tilesIn(text: string): Tile[] {
  const cues = text.matchAll(/--> *(?:(\d+):)?(\d+):(\d+\.\d+)[^\n]*\n([^\n#]+)#xywh=(\d+),(\d+),(\d+),(\d+)/g);
  return [...cues].map(([, hours = "0", minutes, seconds, sheet = "", ...place]) => {
    const [x = 0, y = 0, width = 0, height = 0] = place.map(Number);
    return { end_s: Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds), sheet, x, y, width, height };
  });
}
