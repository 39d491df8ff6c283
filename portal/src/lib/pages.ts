// Pages are files of their own, fetched when they are opened. A file that does not come is tried again.
import { type ComponentType, createElement } from "react";
import { pageAnswers } from "../api/client";

/** The file of a page could not be fetched. */
export class ChunkError extends Error {}

const WAITS = [300, 1000, 2500];

async function fetched<T>(load: () => Promise<T>): Promise<T> {
  for (let round = 0; ; round++) {
    try {
      return await load();
    } catch (error) {
      if (round === WAITS.length) {
        await newVersion();
        throw new ChunkError(error instanceof Error ? error.message : String(error));
      }
      await new Promise((resolve) => window.setTimeout(resolve, WAITS[round]));
    }
  }
}

// A page that was opened before an upgrade asks for files that the new version no longer has. It is loaded again
// when it can be had, and not twice in half a minute: what is missing then is missing in the new version too.
async function newVersion() {
  const last = Number(sessionStorage.getItem("seawall-reloaded") ?? 0);
  if (Date.now() - last < 30_000 || !(await pageAnswers())) return;
  sessionStorage.setItem("seawall-reloaded", String(Date.now()));
  location.reload();
  // Nothing is drawn any more on the way out.
  await new Promise(() => {});
}

const failures = new Set<() => void>();
/** Lets pages that could not be fetched be fetched again. */
export function retryPages() {
  for (const forget of failures) forget();
  failures.clear();
}

/** `load`, tried again when the file does not come; once it came it is not fetched again. */
export function retried(load: () => Promise<void>): () => Promise<void> {
  let coming: Promise<void> | undefined;
  return () => {
    coming ??= fetched(load).catch((error) => {
      coming = undefined;
      throw error;
    });
    return coming;
  };
}

type Module<K extends string, P> = Record<K, ComponentType<P>>;

/** A page without properties: see `part`. */
export const page = <K extends string>(load: () => Promise<Module<K, object>>, name: K) =>
  part<K, object>(load, name);

/** The component `name` of a module that is fetched when it is first drawn, and again after a failure. */
export function part<K extends string, P extends object>(
  load: () => Promise<Module<K, P>>,
  name: K,
): ComponentType<P> {
  let found: ComponentType<P> | undefined;
  let failed: unknown;
  let coming: Promise<void> | undefined;
  const draw = (props: P) => {
    if (found) return createElement(found, props);
    if (failed) throw failed;
    coming ??= fetched(load).then(
      (module) => {
        found = module[name];
        coming = undefined;
      },
      (error) => {
        failed = error;
        failures.add(() => {
          failed = undefined;
        });
        coming = undefined;
      },
    );
    throw coming;
  };
  return draw;
}
