/**
 * The options of `deno task bench detection`.
 *
 * @module
 */
import { JSON_OPTION, type Options } from "../../process/cli/declaration.ts";
import { integer, matching, numberWithin } from "../../process/cli/parsers.ts";

/** Options of the bench of detection, for its own command line and for that of `bench`. */
export const DETECTION_OPTIONS = {
  scenario: {
    type: "string",
    value: "NAME",
    about: "only scenarios whose names begin so: step-40, region, healthy",
    parser: matching(/^[a-z0-9-]+$/, "a name"),
    absent: "all of them",
  },
  seeds: {
    type: "string",
    value: "N",
    about: "worlds of each scenario",
    parser: integer(1, 10_000),
    absent: "1, or 5 with --full",
  },
  hours: {
    type: "string",
    value: "H",
    about: "simulated hours of the healthy run",
    parser: numberWithin(0.1, 1_000),
    absent: "0.3, or 24 with --full",
  },
  viewers: {
    type: "string",
    value: "N",
    about: "most viewers of the healthy run, over 5,000 titles × 20 regions",
    parser: integer(100, 1_000_000),
    absent: "20000",
  },
  full: {
    type: "boolean",
    about: "five worlds of each scenario, and a healthy day; takes about half an hour",
  },
  json: JSON_OPTION,
} as const satisfies Options;
