/**
 * The schema of the books.
 *
 * @module
 */
import { type Migration, readMigrations } from "../../shared/process/postgres/migrate.ts";

/** Reads the migrations of the schema `royalty`, in order. */
export function booksMigrations(): Promise<Migration[]> {
  return readMigrations(new URL("../migrations/", import.meta.url));
}
