/**
 * The OpenAPI document of an app, as bytes that are made once: made for each request it costs half a
 * millisecond, which anybody could ask for without a key, as often as he likes.
 *
 * @module
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Env } from "hono";

type DocumentConfig = Parameters<OpenAPIHono["getOpenAPI31Document"]>[0];

/** Serves the document of `app` as `/openapi.json`. Call it when the app is complete. */
export function serveOpenApi<E extends Env>(app: OpenAPIHono<E>, config: DocumentConfig): void {
  let document: Uint8Array<ArrayBuffer> | undefined;
  app.get("/openapi.json", (c) => {
    document ??= new TextEncoder().encode(JSON.stringify(app.getOpenAPI31Document(config)));
    return c.body(document, 200, { "content-type": "application/json" });
  });
}
