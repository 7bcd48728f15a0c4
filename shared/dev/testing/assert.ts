/**
 * `@std/assert`, as far as Twofold uses it, on `node:assert`.
 *
 * The standard library is published on JSR, which not every build machine reaches; the import map
 * in `deno.json` points `@std/assert` here. To use the original, change that one line to
 * `jsr:@std/assert@1`: names, argument order and behaviour are the same.
 *
 * @module
 */
import assertions, { AssertionError } from "node:assert";

/** What every assertion of this module throws. */
export { AssertionError };

/** Fails unless `expr` is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError({ message: msg || "Expected a truthy value" });
}

/** Fails unless `actual` deeply and strictly equals `expected`. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  assertions.deepStrictEqual(actual, expected, msg);
}

/** Fails if `actual` deeply and strictly equals `expected`. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  assertions.notDeepStrictEqual(actual, expected, msg);
}

/** Fails unless `Object.is(actual, expected)`. */
export function assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): void {
  assertions.strictEqual(actual, expected, msg);
}

/** Fails if `actual` is null or undefined. */
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  if (actual === null || actual === undefined) {
    throw new AssertionError({ message: msg ?? `Expected a value, got ${actual}` });
  }
}

/** Fails unless `actual` contains `expected`. */
export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  if (!actual.includes(expected)) {
    throw new AssertionError({ message: msg ?? `Expected "${actual}" to contain "${expected}"` });
  }
}

/** Fails unless `actual` matches `expected`. */
export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  assertions.match(actual, expected, msg);
}

/** Fails unless `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual > expected)) {
    throw new AssertionError({ message: msg ?? `Expected ${actual} > ${expected}` });
  }
}

/** Fails unless `actual >= expected`. */
export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual >= expected)) {
    throw new AssertionError({ message: msg ?? `Expected ${actual} >= ${expected}` });
  }
}

/** Fails unless `actual <= expected`. */
export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual <= expected)) {
    throw new AssertionError({ message: msg ?? `Expected ${actual} <= ${expected}` });
  }
}

type ErrorClass<E extends Error> = new (...args: never[]) => E;

function isExpectedError<E extends Error>(
  error: unknown,
  ErrorType?: ErrorClass<E>,
  includes?: string,
): E {
  if (ErrorType && !(error instanceof ErrorType)) {
    throw new AssertionError({ message: `Expected ${ErrorType.name}, got ${error}` });
  }
  if (includes) assertStringIncludes(String((error as Error)?.message), includes);
  return error as E;
}

/** Fails unless `fn` throws; returns what was thrown. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorType?: ErrorClass<E>,
  includes?: string,
): E {
  try {
    fn();
  } catch (error) {
    return isExpectedError(error, ErrorType, includes);
  }
  throw new AssertionError({ message: "Expected the function to throw" });
}

/** Fails unless the promise of `fn` rejects; returns what it rejected with. */
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorType?: ErrorClass<E>,
  includes?: string,
): Promise<E> {
  try {
    await fn();
  } catch (error) {
    return isExpectedError(error, ErrorType, includes);
  }
  throw new AssertionError({ message: "Expected the promise to reject" });
}
