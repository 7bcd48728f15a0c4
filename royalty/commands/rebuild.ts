/**
 * `deno task royalty rebuild`.
 *
 * @module
 */
import { readMigrations } from "../../shared/process/migrate.ts";
import { withRawStreams } from "./with_raw_streams.ts";
import { type Command, Misuse, readArguments, required, requiredDay } from "./command.ts";
import { rebuildDay } from "../audit/rebuild.ts";

export const rebuildCommand: Command = {
  name: "rebuild",
  usage: `rebuild --day YYYY-MM-DD --into POSTGRES_URL
make a closed day again from the raw heartbeats in an empty database, and compare the SHA-256 of
its CSV with the statement's; exits 1 when they differ. Needs NATS, as royalty or auditor`,
  async run(args) {
    const given = readArguments("rebuild", args, { valued: ["--day", "--into"] });
    const day = requiredDay(given);
    const into = required(given, "--into", "POSTGRES_URL, an empty database");
    if (!/^postgres(ql)?:\/\//.test(into)) throw new Misuse("--into must be a postgres:// URL");
    const migrations = await readMigrations(new URL("../migrations/", import.meta.url));
    const { version, stored, rebuilt, events, seconds } = await withRawStreams((options) =>
      rebuildDay(day, { ...options, into, migrations })
    );
    const isSame = stored === rebuilt;
    console.log([
      `${stored}  statement of ${day}, version ${version}`,
      `${rebuilt}  rebuilt from ${events} raw heartbeats in ${seconds.toFixed(1)} s`,
      isSame ? "the same bytes" : "NOT the same; deno task royalty recount names the lines",
    ].join("\n"));
    return isSame ? 0 : 1;
  },
};
