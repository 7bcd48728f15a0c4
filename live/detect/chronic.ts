/**
 * Levels that have become usual: a slight excess that does not change for an hour is closed as
 * `chronic`, and its level is the baseline of its cells until it ends.
 *
 * An outage is no normal: a level above 2p + {@link MAX_EXCESS}, of a baseline p, never becomes
 * usual. And a level is not kept for what comes after it: once the cell that it was learned on is
 * back near its old baseline for {@link BACK_LOOKS} looks, two minutes, all cells have their old
 * baselines again. Adoptions are saved with the baselines.
 *
 * Pure: times are arguments, in ms since the epoch.
 *
 * @module
 */
import type { Baselines } from "./baseline.ts";
import type { Candidates } from "./candidates.ts";
import { CHANNEL_COUNT, ruleOf, type SignalRule } from "./channels.ts";

/** Share above twice the baseline that may still become usual. */
const MAX_EXCESS = 0.2;
/** Time between two looks at whether a level still holds, in ms. */
const LOOK_MS = 30_000;
const BACK_LOOKS = 4;
/** Part of the excess of a level below which a share is back at the old baseline. */
const BACK_PART = 0.25;

/** The largest share that may become usual in a cell with this baseline. */
export function mostUsual(baseline: number): number {
  return Math.min(1, 2 * baseline + MAX_EXCESS);
}

/** The cell that a level was learned on. */
interface Adoption {
  readonly id: number;
  readonly cell: number;
  /** Looks in a row at which it was back. */
  looks: number;
}

/** The adopted levels. */
export class Adoptions {
  #adoptions: readonly Adoption[] = [];
  #nextId = 1;
  #lookedMs = 0;

  constructor(readonly tests: Candidates, readonly baselines: Baselines) {}

  /** Makes the level of `cell` usual in `cells`, which it contains, where they have less. */
  adopt({ first, count }: SignalRule, cell: number, cells: readonly number[]): void {
    const { tests, baselines } = this;
    const id = this.#nextId;
    for (let channel = first; channel < first + count; channel++) {
      const share = tests.share(cell, channel);
      for (const each of cells) {
        const p = tests.baseline(each, channel);
        if (p < share) baselines.adopt(each, channel, Math.min(share, mostUsual(p)), id);
      }
    }
    this.#note(id, cell);
  }

  /** Takes over those of loaded baselines. */
  restore(): void {
    for (const [id, cell] of this.baselines.adopted) this.#note(id, cell);
  }

  #note(id: number, cell: number): void {
    this.#nextId = Math.max(this.#nextId, id + 1);
    this.tests.cells.hold(cell);
    this.#adoptions = [...this.#adoptions, { id, cell, looks: 0 }];
  }

  /** Lets time pass: levels that no longer hold are given up. */
  advance(nowMs: number): void {
    if (nowMs - this.#lookedMs < LOOK_MS || this.#adoptions.length === 0) return;
    this.#lookedMs = nowMs;
    for (const each of this.#adoptions) each.looks = this.#isBack(each.cell) ? each.looks + 1 : 0;
    const over = this.#adoptions.filter(({ looks }) => looks >= BACK_LOOKS);
    this.#adoptions = this.#adoptions.filter(({ looks }) => looks < BACK_LOOKS);
    for (const { id, cell } of over) {
      this.baselines.giveUp(id);
      this.tests.cells.unhold(cell);
    }
  }

  // Whether the share is near the old baseline wherever that was lower. Too few viewers tell nothing.
  #isBack(cell: number): boolean {
    for (let channel = 0; channel < CHANNEL_COUNT; channel++) {
      const before = this.baselines.shareBefore(cell, channel);
      const excess = this.tests.baseline(cell, channel) - before;
      if (excess <= before) continue;
      if (this.tests.of(cell, channel) < ruleOf(channel).minWatching) return false;
      if (this.tests.share(cell, channel) > before + BACK_PART * excess) return false;
    }
    return true;
  }
}
