import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { type PageRow, startPageApp } from "./start_page.ts";

const HOSTILE = `<script>alert(1)</script>" onclick="x`;

function app(rows: readonly PageRow[]) {
  return startPageApp({
    port: 7400,
    content: () =>
      Promise.resolve({
        board: "http://127.0.0.1:7405/",
        statements: "http://127.0.0.1:7406/",
        rows,
        documents: ["overview"],
      }),
    documents: new Map([["overview", () => Promise.resolve("# Twofold\n<script>")]]),
  });
}

const ROW: PageRow = { name: "live", state: "running", isWell: true, restarts: 0, links: [] };

Deno.test("the start page shows text of others as text, and has no script", async () => {
  const links = [{ text: "status", href: HOSTILE }];
  const response = await app([{ ...ROW, state: HOSTILE, isWell: false, links }])
    .request("http://127.0.0.1:7400/");
  const page = await response.text();
  assert(!page.includes("<script"), page);
  assert(!page.includes('" onclick='), page);
  assertStringIncludes(page, "Not well: live.");
  const policy = response.headers.get("content-security-policy") ?? "";
  assertStringIncludes(policy, "default-src 'none'");
  assert(!policy.includes("script-src"), policy);
  const [, style = ""] = page.match(/<style>([^<]*)<\/style>/) ?? [];
  const hash = createHash("sha256").update(style).digest("base64");
  assertStringIncludes(policy, `style-src 'sha256-${hash}'`);
});

Deno.test("every link of the start page says in words where it leads", async () => {
  const links = [{ text: "status", href: "http://127.0.0.1:7402/readyz" }];
  const response = await app([{ ...ROW, links }]).request("http://127.0.0.1:7400/");
  const page = await response.text();
  assertStringIncludes(page, 'aria-label="live status"');
  assertStringIncludes(page, "All parts work.");
  assertStringIncludes(page, '<html lang="en">');
  assert(!/tabindex/.test(page));
});

Deno.test("a name of another site that leads here is not served", async () => {
  const statuses = await Promise.all(
    ["127.0.0.1:7400", "localhost:7400", "evil.example:7400", "127.0.0.1:7401"].map(async (host) =>
      (await app([]).request(`http://${host}/`)).status
    ),
  );
  assertEquals(statuses, [200, 200, 421, 421]);
});

Deno.test("documents are served as plain text, and no other file is", async () => {
  const found = await app([]).request("http://127.0.0.1:7400/docs/overview");
  assertMatch(found.headers.get("content-type") ?? "", /^text\/plain; ?charset=utf-8$/i);
  assertEquals(found.headers.get("x-content-type-options"), "nosniff");
  for (const name of ["other", "..%2Fdeno.json", "__proto__"]) {
    const { status } = await app([]).request(`http://127.0.0.1:7400/docs/${name}`);
    assertEquals(status, 404, name);
  }
});
