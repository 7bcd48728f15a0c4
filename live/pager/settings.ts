/**
 * Settings of the pager.
 *
 * @module
 */
import { z } from "zod";
import {
  natsSettings,
  processSettings,
  type SettingsRule,
  type SettingsShape,
  wholeNumber,
} from "../../shared/process/config.ts";
import { receiversSetting, withSecrets } from "./receivers/receiver.ts";

/** Settings by environment variable; `live/pager/README.md` lists them with their defaults. */
export const pagerSettings = {
  ...natsSettings,
  ...processSettings,
  TWOFOLD_HTTP_PORT: wholeNumber(0, 65_535).default(8084)
    .describe("port of the HTTP server"),
  TWOFOLD_PAGER_RECEIVERS: receiversSetting.optional()
    .describe("who is paged, as a JSON array; secrets are in variables that it names"),
  TWOFOLD_PAGER_SERVICES: z.string().default("ingest,live,royalty,triage")
    .transform((text) => text.split(","))
    .pipe(z.array(z.string().regex(/^[a-z0-9-]{1,32}$/, "expected names separated by commas")))
    .describe("services whose pulse has to be heard, separated by commas"),
} satisfies SettingsShape;

/** Every secret that a receiver names is in `secrets`, the environment variables. */
export function pagerRule(
  secrets: Readonly<Record<string, string | undefined>>,
): SettingsRule<typeof pagerSettings> {
  return ({ TWOFOLD_PAGER_RECEIVERS: configs = [] }) => {
    const found = withSecrets(configs, secrets);
    if ("receivers" in found) return {};
    return { TWOFOLD_PAGER_RECEIVERS: found.missing.join("; ") };
  };
}
