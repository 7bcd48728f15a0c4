/**
 * The load generator as a process of its own, so that its CPU is measured apart. Its argument is
 * {@link LoadOptions} as JSON; it prints the {@link LoadReport} as JSON.
 *
 * @module
 */
import { loadAtRate, type LoadOptions, type LoadReport } from "../dev/fleet/device_client_load.ts";

/** {@link LoadReport} as JSON. */
export type LoadResult = Omit<LoadReport, "titles">;

if (import.meta.main) {
  const [json] = Deno.args;
  if (json === undefined) throw new Error("the argument is missing: the options as JSON");
  const options: LoadOptions = JSON.parse(json);
  const { titles: _, ...result } = await loadAtRate(options);
  console.log(JSON.stringify(result satisfies LoadResult));
}
