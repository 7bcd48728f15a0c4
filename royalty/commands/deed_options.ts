/**
 * Options that say who does something to the books, and why.
 *
 * @module
 */
import { text } from "../../shared/process/cli/parsers.ts";

/** Maximum characters of a name and of a reason. */
const MAX_CHARS = 200;

/** Who is responsible; the table of acts and the next manifest name the person. */
export const BY_OPTION = {
  type: "string",
  value: "PERSON",
  about: "who is responsible",
  parser: text(MAX_CHARS),
  required: true,
} as const;

/** Why; beside the person. */
export const REASON_OPTION = {
  type: "string",
  value: "TEXT",
  about: "why",
  parser: text(MAX_CHARS),
} as const;
