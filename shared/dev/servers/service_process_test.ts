import { assertEquals } from "@std/assert";
import { parseMetrics, permissions, SERVICES } from "./service_process.ts";
import { runCommand } from "../testing/child_process.ts";

const OPTIONS = { httpPort: 4000, reach: ["127.0.0.1:4222"], settings: {} };

// What a service that was taken over might try; each must be denied.
const ATTEMPTS = `
  const attempts = {
    "read a file": () => Deno.readTextFile("/etc/hostname"),
    "write a file": () => Deno.writeTextFile("/tmp/twofold-must-not-exist", ""),
    "run a program": () => new Deno.Command("true").output(),
    "reach another host": () => Deno.connect({ hostname: "127.0.0.1", port: 1 }),
    "read the environment": async () => Deno.env.get("HOME"),
  };
  const allowed = [];
  for (const [what, attempt] of Object.entries(attempts)) {
    try {
      await attempt();
      allowed.push(what);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotCapable)) allowed.push(what);
    }
  }
  console.log(JSON.stringify(allowed));
`;

for (const name of SERVICES) {
  Deno.test(`${name} runs without rights it does not need`, async () => {
    const file = await Deno.makeTempFile({ suffix: ".js" });
    await Deno.writeTextFile(file, ATTEMPTS);
    const args = ["run", "--quiet", ...permissions(name, OPTIONS), file];
    const { out, err } = await runCommand(Deno.execPath(), args);
    await Deno.remove(file);
    assertEquals([JSON.parse(out), err], [[], ""]);
  });
}

Deno.test("metrics are parsed by name and labels", () => {
  const text = '# TYPE a counter\na{b="c d"} 3\ne 0.5\n';
  assertEquals([...parseMetrics(text)], [['a{b="c d"}', 3], ["e", 0.5]]);
});
