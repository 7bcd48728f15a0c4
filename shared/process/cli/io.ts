/**
 * What a command writes to: standard output and standard error, or text that a test keeps.
 *
 * @module
 */

/** Where text goes. */
export interface Output {
  /** Writes all of it as it is, however slowly it is read. */
  readonly write: (content: string | Uint8Array) => void;
  /** Writes it and a line break. */
  readonly line: (text: string) => void;
  /** Whether a person is looking. */
  readonly isTerminal: boolean;
}

/** What a command writes to: results to `out`, and what else a person should know to `err`. */
export interface Io {
  readonly out: Output;
  readonly err: Output;
}

/** Standard output and standard error of this process. */
export function processIo(): Io {
  return { out: outputTo(Deno.stdout), err: outputTo(Deno.stderr) };
}

/** A stream of bytes, such as `Deno.stdout`. */
export interface ByteSink {
  readonly writeSync: (bytes: Uint8Array) => number;
  readonly isTerminal: () => boolean;
}

/** The pipe that is written to has no reader any more. A socket can break too, so not BrokenPipe. */
export class ReaderGone extends Error {
  override readonly name = "ReaderGone";
}

/** How long to wait for a reader whose pipe is full, ms. */
const FULL_PIPE_MS = 5;

/** The output that writes to `sink`. */
export function outputTo(sink: ByteSink): Output {
  const encoder = new TextEncoder();
  const write = (content: string | Uint8Array) => {
    let rest = typeof content === "string" ? encoder.encode(content) : content;
    while (rest.length > 0) rest = rest.subarray(writeSome(sink, rest));
  };
  return { write, line: (text) => write(`${text}\n`), isTerminal: sink.isTerminal() };
}

// Another process may have made the pipe non-blocking; then a full one is an error.
function writeSome(sink: ByteSink, bytes: Uint8Array): number {
  try {
    return sink.writeSync(bytes);
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) {
      throw new ReaderGone("nobody reads the output", { cause: error });
    }
    if (!(error instanceof Deno.errors.WouldBlock)) throw error;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_PIPE_MS);
    return 0;
  }
}

/** What was written to an {@link Io} of {@link captureIo}. */
export interface CapturedIo {
  readonly io: Io;
  readonly out: () => string;
  readonly err: () => string;
}

/** An {@link Io} that keeps what is written, as UTF-8, for tests. */
export function captureIo(isTerminal = false): CapturedIo {
  const captured = () => {
    const decoder = new TextDecoder();
    let text = "";
    const output = outputTo({
      writeSync: (bytes) => {
        text += decoder.decode(bytes, { stream: true });
        return bytes.length;
      },
      isTerminal: () => isTerminal,
    });
    return { output, text: () => text };
  };
  const [out, err] = [captured(), captured()];
  return { io: { out: out.output, err: err.output }, out: out.text, err: err.text };
}
