/**
 * `deno task royalty audit`.
 *
 * @module
 */
import { Refused } from "../shared/errors.ts";
import { type AuditedDay, auditOf, auditText, isKnown } from "./audit.ts";
import { readAuditedDay } from "./audit_books.ts";
import { type Command, readArguments, requiredDay, withBooks } from "./command.ts";
import { readAccounts } from "./ledger.ts";

export const auditCommand: Command = {
  name: "audit",
  usage: `audit --day YYYY-MM-DD
whether every sequence of the day has an outcome and the statement is their sum; exits 1 when not`,
  async run(args) {
    const given = readArguments("audit", args, { valued: ["--day"] });
    const day = requiredDay(given);
    const { audited, accounts } = await withBooks(async (sql) => ({
      audited: await readAuditedDay(sql, day),
      accounts: await readAccounts(sql),
    }));
    if (!isKnown(audited)) throw new Refused(unknownText(audited));
    const audit = auditOf(audited, accounts.disagreements);
    console.log(auditText(audited, audit));
    return audit.disagreements.length === 0 ? 0 : 1;
  },
};

function unknownText({ day, known }: AuditedDay): string {
  const others = known
    ? `the books have days from ${known.first} to ${known.last}`
    : "the books are empty";
  return `${day} has no statement and no credits; ${others}`;
}
