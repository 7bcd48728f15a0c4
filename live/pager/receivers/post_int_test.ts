import { assert, assertEquals } from "@std/assert";
import { ReceiverServer } from "../../../shared/dev/receivers/receiver_server.ts";
import { send } from "./post.ts";

Deno.test("what an answer repeats of a secret URL or header is not kept", async () => {
  await using server = new ReceiverServer();
  const path = "/services/T0000/SLACKSECRET";
  server.behaviour = { status: 404, body: `Cannot POST ${path} for Bearer KEYSECRET` };
  const sent = await send({
    url: `${server.url}${path}`,
    headers: { "content-type": "application/json", authorization: "Bearer KEYSECRET" },
    body: "{}",
  }, 5_000);
  assert("answer" in sent);
  assertEquals([sent.answer.status, sent.answer.text], [404, "Cannot POST … for …"]);

  server.behaviour = { status: 400, body: "no service has the key ROUTINGKEY" };
  const routing = await send(
    { url: server.url, headers: {}, body: "{}", secret: "ROUTINGKEY" },
    5_000,
  );
  assert("answer" in routing);
  assertEquals(routing.answer.text, "no service has the key …");

  server.behaviour = {
    status: 401,
    body: `invalid QUERYSECRET, no such bearer KEYSECRET ${"x".repeat(240)} ROUTINGKEY`,
  };
  const parts = await send({
    url: `${server.url}/hook?token=QUERYSECRET`,
    headers: { authorization: "Bearer KEYSECRET" },
    body: "{}",
    secret: "ROUTINGKEY",
  }, 5_000);
  assert("answer" in parts);
  assertEquals(parts.answer.text, `invalid …, no such bearer … ${"x".repeat(240)} …`);
});
