/**
 * The HTTP server of the pager: the status routes of every process, the read API, and the board.
 *
 * @module
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { createHash } from "node:crypto";
import { safeJson } from "../../../shared/process/cli/json_output.ts";
import { safeText } from "../../../shared/process/cli/table.ts";
import { statusApp, type StatusOptions } from "../../../shared/process/status.ts";
import type { Board } from "./board.ts";
import { describeBoardApi } from "./board_schema.ts";
import { BOARD_STYLE, boardPage } from "./page.ts";
import { SCRIPT } from "./page_script.ts";

const hashOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** The policy of the page: its own script and style, requests to this server, and nothing else. */
export const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  `script-src ${hashOf(SCRIPT)}`,
  `style-src ${hashOf(BOARD_STYLE)}`,
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

// Text of devices is shown by terminals, too: `curl` prints what it gets.
function jsonResponse(value: unknown): Response {
  return new Response(safeJson(value), { headers: { "content-type": "application/json" } });
}

/** What people read; the status routes answer under every name. */
const READ = ["/", "/v1/*"];

/** The host that a request names, without a final dot; undefined when it is no host. */
function hostnameOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).hostname.replace(/\.$/, "") : undefined;
}

/**
 * Whether a browser may reach the board as `hostname`. A page of somebody else can give its own name
 * the address of this server, and would then read what is open; it cannot do so with an address,
 * with `localhost`, or with a name that has no dot.
 */
function isOwnHost(hostname: string, hosts: readonly string[]): boolean {
  const isAddress = hostname.startsWith("[") || /^[0-9.]+$/.test(hostname);
  return isAddress || !hostname.includes(".") || hosts.includes(hostname);
}

/** Makes the HTTP app; it answers as one of `hosts`, too. */
export function boardApp(
  status: StatusOptions,
  board: Pick<Board, "list" | "state">,
  hosts: readonly string[] = [],
): OpenAPIHono {
  const app = new OpenAPIHono();
  app.use(async (c, next) => {
    await next();
    c.header("x-content-type-options", "nosniff");
    c.header("referrer-policy", "no-referrer");
    c.header("cross-origin-resource-policy", "same-origin");
    c.header("cache-control", "no-store");
  });
  describeBoardApi(app);
  for (const path of READ) {
    app.use(path, async (c, next) => {
      if (c.req.method !== "GET" && c.req.method !== "HEAD") {
        const error = "method not allowed: this API only reads; use GET";
        return c.json({ error }, 405, { allow: "GET, HEAD" });
      }
      const hostname = hostnameOf(c.req.url);
      if (hostname !== undefined && isOwnHost(hostname, hosts)) return await next();
      const name = hostname === undefined ? "this Host" : safeText(hostname);
      return c.json(
        { error: `${name} is no name of this server: add it to TWOFOLD_PAGER_HOSTS` },
        421,
      );
    });
  }
  app.get("/v1/incidents", () => jsonResponse(board.list));
  app.get("/v1/state", () => jsonResponse(board.state));
  app.get("/", async (c) => {
    c.header("content-security-policy", CONTENT_SECURITY_POLICY);
    return c.html(await boardPage());
  });
  app.route("/", statusApp(status));
  return app;
}
