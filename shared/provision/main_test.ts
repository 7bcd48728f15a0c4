import { assert, assertEquals } from "@std/assert";
import { runTask } from "../dev/testing/child_process.ts";
import { declarationProblems } from "../dev/testing/declaration_problems.ts";
import { provisionTask } from "./main.ts";

Deno.test("the declaration is valid, and its examples parse", () => {
  assertEquals(declarationProblems(provisionTask), []);
});

Deno.test("a superuser's URL without the passwords of the roles is refused, and not shown", async () => {
  const { code, out, err } = await runTask("provision", [], {
    TWOFOLD_NATS_URL: "127.0.0.1:1",
    TWOFOLD_NATS_USER: "ops",
    TWOFOLD_NATS_PASSWORD: "secret-1",
    TWOFOLD_POSTGRES_ADMIN_URL: "postgres://postgres:secret-2@127.0.0.1:1/twofold",
    TWOFOLD_POSTGRES_TRIAGE_PASSWORD: "secret-3",
  });
  assertEquals([code, out], [2, ""], err);
  assert(err.includes("TWOFOLD_POSTGRES_ROYALTY_PASSWORD: is not set, but TWOFOLD_POSTGRES_ADMIN"));
  assert(!err.includes("secret"), err);
});
