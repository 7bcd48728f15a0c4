/**
 * A headless Chromium for tests of pages, driven by the DevTools protocol: from `CHROMIUM_BIN`, the
 * npm package, or the PATH, in that order.
 *
 * @module
 */
import { messageOf, Stop } from "../../process/errors.ts";
import { Child } from "../servers/child.ts";
import { freePort } from "../servers/free_port.ts";
import type { Workspace } from "../servers/workspace.ts";
import { runCommand } from "../testing/child_process.ts";
import { ROOT } from "../testing/module_graph.ts";
import { waitFor } from "../testing/wait_for.ts";

/** It has the libraries that Chromium needs, so that nothing has to be installed. */
const PACKAGE = "npm:@sparticuz/chromium@153.0.0";
const TIMEOUT_MS = 20_000;

type Environment = Readonly<Record<string, string>>;

interface Binary {
  readonly path: string;
  readonly env: Environment;
}

/** A running browser. */
export class Chromium implements AsyncDisposable {
  private constructor(readonly child: Child, readonly port: number) {}

  /** Starts it; its files are in `workspace`. */
  static async start(workspace: Workspace): Promise<Chromium> {
    const { path, env } = await findChromium(workspace);
    const port = freePort();
    const child = await Child.start(workspace, {
      name: "chromium",
      command: path,
      args: [
        "--headless",
        // The pages are our own, and who runs tests may be root.
        "--no-sandbox",
        "--no-zygote",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        `--remote-debugging-port=${port}`,
        `--user-data-dir=${workspace.folder}/chromium-data`,
        "about:blank",
      ],
      env,
    });
    const browser = new Chromium(child, port);
    await waitFor("Chromium", async () => {
      if (child.exitCode !== null) return true;
      const response = await fetch(`http://127.0.0.1:${port}/json/version`);
      await response.body?.cancel();
      return response.ok;
    }, { timeoutMs: 60_000 });
    if (child.exitCode !== null) throw new Stop(`Chromium ended:\n${await child.tail()}`);
    return browser;
  }

  /** Opens `url` in a window of that size, in CSS pixels. */
  async open(url: string, width = 1_200, height = 900): Promise<BrowserPage> {
    const response = await fetch(`http://127.0.0.1:${this.port}/json/new?about:blank`, {
      method: "PUT",
    });
    const { webSocketDebuggerUrl } = await response.json();
    const page = await BrowserPage.connect(webSocketDebuggerUrl);
    await page.resize(width, height);
    await page.send("Page.navigate", { url });
    return page;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child.stop("SIGKILL");
  }
}

/** What the browser sends. */
interface Received {
  readonly id?: number;
  readonly method?: string;
  readonly params?: unknown;
  readonly error?: { readonly message: string };
  readonly result?: Readonly<Record<string, unknown>>;
}

/** A page of a browser. */
export class BrowserPage implements Disposable {
  /** Exceptions, and what the console and the security policy have said. */
  readonly complaints: string[] = [];
  /** Addresses that the page asked for. */
  readonly requested: string[] = [];
  readonly #waiting = new Map<number, PromiseWithResolvers<Readonly<Record<string, unknown>>>>();
  #lastId = 0;

  private constructor(readonly socket: WebSocket) {
    socket.addEventListener("message", ({ data }) => this.#receive(JSON.parse(data)));
    socket.addEventListener("close", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the page was closed"));
      this.#waiting.clear();
    });
  }

  /** Connects to the page at a DevTools address. */
  static async connect(address: string): Promise<BrowserPage> {
    const socket = new WebSocket(address);
    const opened = Promise.withResolvers<void>();
    socket.addEventListener("open", () => opened.resolve());
    socket.addEventListener("error", () => opened.reject(new Error("no DevTools")));
    await opened.promise;
    const page = new BrowserPage(socket);
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await page.send(`${domain}.enable`);
    return page;
  }

  /** Sends a command of the DevTools protocol; its result. */
  async send(
    method: string,
    params: Readonly<Record<string, unknown>> = {},
  ): Promise<Readonly<Record<string, unknown>>> {
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<Readonly<Record<string, unknown>>>();
    this.#waiting.set(id, answer);
    const timer = setTimeout(() => answer.reject(new Error(`${method}: no answer`)), TIMEOUT_MS);
    this.socket.send(JSON.stringify({ id, method, params }));
    try {
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  /** The value of a JavaScript expression in the page, as JSON carries it. */
  async read<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { value: T }).value;
  }

  /** Presses a key, as a person does. */
  async press(key: "Tab" | "Enter" | "Space"): Promise<void> {
    const code = { Tab: 9, Enter: 13, Space: 32 }[key];
    const text = { Tab: "", Enter: "\r", Space: " " }[key];
    const common = { key: key === "Space" ? " " : key, code: key, windowsVirtualKeyCode: code };
    const type = text === "" ? "rawKeyDown" : "keyDown";
    await this.send("Input.dispatchKeyEvent", { ...common, type, ...(text ? { text } : {}) });
    await this.send("Input.dispatchKeyEvent", { ...common, type: "keyUp" });
  }

  /** Gives the window another size, in CSS pixels. */
  async resize(width: number, height: number): Promise<void> {
    const size = { width, height, deviceScaleFactor: 1, mobile: width < 500 };
    await this.send("Emulation.setDeviceMetricsOverride", size);
  }

  /** Light or dark, as the reader of a page has chosen. */
  async scheme(value: "light" | "dark"): Promise<void> {
    const features = [{ name: "prefers-color-scheme", value }];
    await this.send("Emulation.setEmulatedMedia", { features });
  }

  /** A picture of the whole page, as PNG. */
  async picture(): Promise<Uint8Array<ArrayBuffer>> {
    const { data } = await this.send("Page.captureScreenshot", { captureBeyondViewport: true });
    return Uint8Array.from(atob(String(data)), (char) => char.charCodeAt(0));
  }

  [Symbol.dispose](): void {
    this.socket.close();
  }

  #receive({ id, method, params, error, result }: Received): void {
    if (id !== undefined) {
      const answer = this.#waiting.get(id);
      if (error) answer?.reject(new Error(error.message));
      else answer?.resolve(result ?? {});
      return;
    }
    if (method === "Network.requestWillBeSent") {
      this.requested.push((params as { request: { url: string } }).request.url);
    }
    const complains = ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"];
    // A dialog would be the work of injected code; it must not stop the page.
    if (method === "Page.javascriptDialogOpening") {
      void this.send("Page.handleJavaScriptDialog", { accept: false });
    } else if (method === undefined || !complains.includes(method)) return;
    this.complaints.push(`${method} ${JSON.stringify(params)}`);
  }
}

async function findChromium(workspace: Workspace): Promise<Binary> {
  const tried: string[] = [];
  const candidates = [
    () => Promise.resolve(plain(Deno.env.get("CHROMIUM_BIN"))),
    () => packaged(workspace),
    ...["chromium", "chromium-browser", "google-chrome"].map((path) => () =>
      Promise.resolve(plain(path))
    ),
  ];
  for (const candidate of candidates) {
    try {
      const binary = await candidate();
      if (binary === undefined) continue;
      const { code, err } = await runCommand(binary.path, ["--version"], { env: binary.env });
      if (code === 0) return binary;
      tried.push(err.split("\n", 1)[0] ?? "");
    } catch (error) {
      tried.push(messageOf(error).split("\n", 1)[0] ?? "");
    }
  }
  throw new Stop(
    "no usable Chromium: install it and put it on the PATH, or set CHROMIUM_BIN " +
      `(tried: ${tried.join("; ")})`,
  );
}

function plain(path: string | undefined): Binary | undefined {
  return path === undefined ? undefined : { path, env: {} };
}

// The package unpacks to the folder of temporary files, and the libraries only where it believes to
// be on the platform that it was made for.
async function packaged({ folder }: Workspace): Promise<Binary | undefined> {
  if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") return undefined;
  const { code, out, err } = await runCommand(Deno.execPath(), [
    "eval",
    "--quiet",
    `import c from "${PACKAGE}"; console.log(await c.executablePath());`,
  ], {
    cwd: ROOT.pathname,
    env: { TMPDIR: folder, AWS_EXECUTION_ENV: "AWS_Lambda_nodejs22.x" },
  });
  if (code !== 0) throw new Error(err);
  // Its own configuration names a folder that is not this one; without fonts, no text has a width.
  const fonts = `${folder}/fonts.conf`;
  await Deno.writeTextFile(
    fonts,
    `<?xml version="1.0"?><fontconfig><dir>${folder}/fonts</dir>` +
      `<cachedir>${folder}/fonts-cache</cachedir></fontconfig>`,
  );
  return {
    path: out.trim(),
    env: {
      TMPDIR: folder,
      HOME: folder,
      FONTCONFIG_FILE: fonts,
      LD_LIBRARY_PATH: `${folder}/al2023/lib`,
    },
  };
}
