import { assert, assertEquals } from "@std/assert";
import { anIncident, PagerRig } from "../../shared/dev/receivers/pager_rig.ts";
import { Child } from "../../shared/dev/servers/child.ts";
import { freePort } from "../../shared/dev/servers/free_port.ts";
import { waitFor } from "../../shared/dev/testing/wait_for.ts";
import { Workspace } from "../../shared/dev/servers/workspace.ts";

const TIMEOUT = { timeoutMs: 30_000 };
const CONFIG = "route: { receiver: none, group_wait: 0s }\nreceivers: [{ name: none }]\n";

/** An alert as Alertmanager shows and takes it. */
interface ShownAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly startsAt: string;
  readonly endsAt: string;
}

/** A server with Alertmanager's API. */
interface Alertmanager extends AsyncDisposable {
  readonly host: string;
}

/** The real one where it is installed, in `workspace`; otherwise one that keeps alerts as it does. */
async function startAlertmanager(workspace: Workspace): Promise<Alertmanager> {
  const host = `127.0.0.1:${freePort()}`;
  const binary = await installed(["alertmanager", "prometheus-alertmanager"]);
  if (binary === undefined) return standIn();
  const file = `${workspace.folder}/alertmanager.yml`;
  await Deno.writeTextFile(file, CONFIG);
  const child = await Child.start(workspace, {
    name: "alertmanager",
    command: binary,
    args: [
      `--config.file=${file}`,
      `--storage.path=${workspace.folder}/alertmanager`,
      `--web.listen-address=${host}`,
      "--cluster.listen-address=",
    ],
  });
  await waitFor("Alertmanager", async () => {
    const response = await fetch(`http://${host}/-/ready`);
    await response.body?.cancel();
    return response.ok;
  });
  return { host, [Symbol.asyncDispose]: async () => void await child.stop() };
}

async function installed(names: readonly string[]): Promise<string | undefined> {
  for (const name of names) {
    for (const folder of (Deno.env.get("PATH") ?? "").split(":")) {
      const path = `${folder}/${name}`;
      if (await Deno.stat(path).then(({ isFile }) => isFile, () => false)) return path;
    }
  }
}

function standIn(): Alertmanager {
  const kept = new Map<string, ShownAlert>();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      if (request.method === "GET") {
        return Response.json(
          [...kept.values()].filter(({ endsAt }) => Date.parse(endsAt) > Date.now()),
        );
      }
      for (const alert of await request.json()) {
        const before = kept.get(JSON.stringify(alert.labels));
        kept.set(JSON.stringify(alert.labels), { ...before, ...alert });
      }
      return new Response("");
    },
  );
  return {
    host: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("Alertmanager shows an incident as one alert, until its end or the end of the pager", async () => {
  await using workspace = await Workspace.temporary();
  await using alertmanager = await startAlertmanager(workspace);
  const url = `http://${alertmanager.host}`;
  await using rig = await PagerRig.start(
    [{ name: "am", kind: "alertmanager", url, resolve_timeout_ms: 3_000 }],
    [alertmanager.host],
  );
  const pager = await rig.pager();
  const shown = async (): Promise<ShownAlert[]> =>
    await (await fetch(`${url}/api/v2/alerts`)).json();
  const { open, update, end } = anIncident('</b> "ünï" \u202e {{ .x }}', Date.now(), {
    severity: "warning",
  });
  await rig.publish(open);
  await waitFor("the alert", async () => (await shown()).length === 1);
  const [first] = await shown();
  assertEquals(first?.labels.incident_id, open.incident_id);
  assertEquals(Date.parse(first?.startsAt ?? ""), open.opened_at);

  // It has to be repeated to stay, and each time ends later.
  const ends = async () => Date.parse((await shown())[0]?.endsAt ?? "");
  const firstEnd = await ends();
  await waitFor("repeats", async () => await ends() > firstEnd + 4_000, TIMEOUT);
  await rig.publish({ ...update, severity: "critical" });
  await waitFor(
    "its news",
    async () => (await shown())[0]?.annotations.current_severity === "critical",
  );
  assertEquals((await shown()).map(({ labels }) => labels), [first?.labels]);
  await rig.publish(end);
  await waitFor("its end", async () => (await shown()).length === 0);

  const second = anIncident("finale", Date.now());
  await rig.publish(second.open);
  await waitFor("the next one", async () => (await shown()).length === 1);
  assert(await ends() > Date.now());
  await pager.stop("SIGKILL");
  await waitFor("it to end by itself", async () => (await shown()).length === 0, TIMEOUT);
});
