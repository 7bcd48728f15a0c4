/**
 * The load generator as a process of its own, so that its CPU is not mistaken for the pipeline's:
 * reads {@link LoadOptions} as JSON from its argument and prints the {@link LoadReport} as JSON.
 *
 * @module
 */
import { loadAtRate, type LoadOptions, type LoadReport } from "../dev/fleet/device_client_load.ts";

/** {@link LoadReport} as it crosses the process boundary. */
export type LoadResult = Omit<LoadReport, "titles">;

if (import.meta.main) {
  const [json] = Deno.args;
  if (json === undefined) throw new Error("the argument is missing: the options as JSON");
  const options: LoadOptions = JSON.parse(json);
  const { titles: _, ...result } = await loadAtRate(options);
  console.log(JSON.stringify(result satisfies LoadResult));
}
