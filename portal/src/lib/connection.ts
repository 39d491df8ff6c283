// Whether the registry answers. The client reports; the bar at the top of the page shows.
import { useSyncExternalStore } from "react";

let lost = false;
const listeners = new Set<() => void>();

export function report(answers: boolean) {
  if (lost !== answers) return;
  lost = !answers;
  for (const listener of listeners) listener();
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};
export const useLost = () => useSyncExternalStore(subscribe, () => lost);
