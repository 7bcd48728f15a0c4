import { assert, assertEquals, assertThrows } from "@std/assert";
import { readSettings } from "../shared/process/config.ts";
import { Stop } from "../shared/process/errors.ts";
import { ingestSettings } from "./settings.ts";

const GIVEN = {
  TWOFOLD_NATS_USER: "ingest",
  TWOFOLD_NATS_PASSWORD: "p",
  TWOFOLD_FLEET_KEYS: "tv:0123456789abcdef, web:0123456789abcdeX",
};

Deno.test("fleet keys and origins are read", () => {
  const settings = readSettings(ingestSettings, {
    ...GIVEN,
    TWOFOLD_CORS_ORIGINS: "https://a.example, https://b.example",
  });
  const keys = ["0123456789abcdef", "0123456789abcdeX"];
  assertEquals(keys.map((key) => settings.TWOFOLD_FLEET_KEYS.nameOf(key)), ["tv", "web"]);
  assertEquals(settings.TWOFOLD_CORS_ORIGINS, ["https://a.example", "https://b.example"]);
});

Deno.test("every invalid fleet key is named by its position, and no key is shown", () => {
  const secrets = ["tooshort-1", "with space-22222222", "0123456789abcdef", "anotherlongkey444"];
  const text = `tv:${secrets[0]},web:${secrets[1]},a:${secrets[2]},b:${secrets[2]},a:${secrets[3]}`;
  const { message } = assertThrows(
    () => readSettings(ingestSettings, { ...GIVEN, TWOFOLD_FLEET_KEYS: text }),
    Stop,
  );
  for (const pair of [1, 2, 4]) assert(message.includes(`pair ${pair}: `), message);
  for (const secret of secrets) assert(!message.includes(secret), message);
});
