/**
 * Verifies that stored statements are what was issued: every hash, every link, every total.
 *
 * Pure.
 *
 * @module
 */
import { nextDay } from "./business_day.ts";
import { sha256, totalsOf } from "./manifest.ts";
import { statementCsv, type StatementLine } from "./statement_csv.ts";

/** A statement as it is stored. The hashes are SHA-256 in lower-case hex. */
export interface StoredStatement {
  readonly day: string;
  readonly version: number;
  readonly csv: Uint8Array<ArrayBuffer>;
  readonly manifest: Uint8Array<ArrayBuffer>;
  readonly sha256: string;
  readonly manifestSha256: string;
  readonly previousSha256: string | undefined;
  readonly rows: number;
  readonly events: bigint;
  readonly ms: bigint;
}

/** The statement that the next one has to link to. */
export type ChainLink = Pick<StoredStatement, "day" | "version" | "manifestSha256">;

/** Verifies a chain of statements in the order of issue. */
export class ChainCheck {
  readonly #newestVersion = new Map<string, number>();
  #previous: ChainLink | undefined;
  #lastDay: string | undefined;

  /**
   * The faults of the next statement, one line each; empty when it is correct. `lines` are the rows
   * of `royalty.statement_line`.
   */
  next(statement: StoredStatement, lines: readonly StatementLine[]): string[] {
    const { day, version } = statement;
    const faults = [
      ...faultsOf(statement, lines),
      ...this.#linkFaults(statement),
      ...this.#orderFaults(statement),
    ];
    this.#newestVersion.set(day, version);
    if (version === 1) this.#lastDay = day;
    this.#previous = statement;
    return faults.map((fault) => `${day} version ${version}: ${fault}`);
  }

  /**
   * The faults of the end of the chain. The next statement has to be that of `sealedDay` while a day
   * is being closed, otherwise that of `oldestOpenDay`.
   */
  end(oldestOpenDay: string | undefined, sealedDay: string | undefined): string[] {
    const expected = this.#lastDay === undefined ? undefined : nextDay(this.#lastDay);
    const isFirst = sealedDay !== undefined && expected === undefined;
    const next = sealedDay ?? oldestOpenDay;
    if (isFirst || next === expected) return [];
    const end = expected === undefined ? "there are no statements" : `${expected} has none yet`;
    return [`the books say that ${next ?? "no day"} closes next, but ${end}`];
  }

  #linkFaults({ previousSha256, manifest }: StoredStatement): string[] {
    const expected = this.#previous?.manifestSha256;
    const faults: string[] = [];
    if (previousSha256 !== expected) {
      faults.push(`it follows ${previousSha256 ?? "nothing"}, not ${linkText(this.#previous)}`);
    }
    const link = parseManifest(manifest)?.previous as { sha256?: string } | null | undefined;
    if (link !== undefined && link?.sha256 !== expected) {
      faults.push(
        `its manifest follows ${link?.sha256 ?? "nothing"}, not ${linkText(this.#previous)}`,
      );
    }
    return faults;
  }

  #orderFaults({ day, version }: StoredStatement): string[] {
    const before = this.#newestVersion.get(day) ?? 0;
    if (version !== before + 1) return [`version ${before + 1} was expected`];
    if (version !== 1 || this.#lastDay === undefined) return [];
    const expected = nextDay(this.#lastDay);
    return day === expected ? [] : [`the statement of ${expected} was expected`];
  }
}

function linkText(link: ChainLink | undefined): string {
  return link ? `${link.manifestSha256} of ${link.day} version ${link.version}` : "nothing";
}

function faultsOf(statement: StoredStatement, lines: readonly StatementLine[]): string[] {
  const { csv, manifest, rows, events, ms } = statement;
  const faults: string[] = [];
  const compare = (what: string, found: unknown, expected: unknown) => {
    if (found !== expected) faults.push(`${what} is ${found}, recorded is ${expected}`);
  };
  const csvHash = sha256(csv);
  compare("SHA-256 of the CSV", csvHash, statement.sha256);
  compare("SHA-256 of the manifest", sha256(manifest), statement.manifestSha256);
  const content = parseManifest(manifest);
  if (!content) return [...faults, "the manifest is not JSON"];
  const { sha256: csvHashInManifest } = (content.csv ?? {}) as { sha256?: string };
  compare("SHA-256 of the CSV", csvHash, csvHashInManifest);
  compare("the manifest's day", content.recognised_day, statement.day);
  compare("the manifest's version", content.version, statement.version);
  const totals = totalsOf(lines);
  for (
    const [what, found, recorded, stated] of [
      ["number of lines", totals.rows, rows, content.row_count],
      ["sum of events", totals.events, Number(events), content.total_events],
      ["sum of ms", totals.ms, Number(ms), content.total_ms],
    ] as const
  ) {
    compare(what, found, recorded);
    compare(`the manifest's ${what}`, stated, recorded);
  }
  const linesHash = sha256(statementCsv(lines));
  compare("SHA-256 of the CSV made from the stored lines", linesHash, statement.sha256);
  return faults;
}

function parseManifest(manifest: Uint8Array): Record<string, unknown> | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(manifest));
  } catch {
    return undefined;
  }
}
