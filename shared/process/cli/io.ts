/**
 * Output of commands: standard output and standard error, or text that a test captures.
 *
 * @module
 */

/** A destination of text or bytes. */
export interface Output {
  /** Writes all of `content` unchanged; blocks while the reader is slow. */
  readonly write: (content: string | Uint8Array) => void;
  /** Writes `text` and a line break. */
  readonly line: (text: string) => void;
  /** Whether it is a terminal. */
  readonly isTerminal: boolean;
}

/** The outputs of a command: results go to `out`, everything else to `err`. */
export interface Io {
  readonly out: Output;
  readonly err: Output;
}

/** Standard output and standard error of this process. */
export function processIo(): Io {
  return { out: outputTo(Deno.stdout), err: outputTo(Deno.stderr) };
}

/** A byte stream, such as `Deno.stdout`. */
export interface ByteSink {
  readonly writeSync: (bytes: Uint8Array) => number;
  readonly isTerminal: () => boolean;
}

/**
 * The reader of the output has closed its pipe. Not Deno's `BrokenPipe`, which a socket can throw
 * too.
 */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}

/** Wait before the next write to a full pipe, in ms. */
const FULL_PIPE_WAIT_MS = 5;

/** The output that writes to `sink`. */
export function outputTo(sink: ByteSink): Output {
  const encoder = new TextEncoder();
  const write = (content: string | Uint8Array) => {
    let rest = typeof content === "string" ? encoder.encode(content) : content;
    while (rest.length > 0) rest = rest.subarray(writeSome(sink, rest));
  };
  return { write, line: (text) => write(`${text}\n`), isTerminal: sink.isTerminal() };
}

// Another process may have made the pipe non-blocking; then a full pipe is an error.
function writeSome(sink: ByteSink, bytes: Uint8Array): number {
  try {
    return sink.writeSync(bytes);
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) {
      throw new OutputClosed("the reader of the output has closed it", { cause: error });
    }
    if (!(error instanceof Deno.errors.WouldBlock)) throw error;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_PIPE_WAIT_MS);
    return 0;
  }
}

/** An {@link Io} and the text that was written to it. */
export interface CapturedIo {
  readonly io: Io;
  readonly out: () => string;
  readonly err: () => string;
}

/** Creates an {@link Io} that captures what is written as text, for tests. */
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
