// What a browser remembers for its person. Every part of the page that shows one follows it at once.
import { useSyncExternalStore } from "react";

const STANDARD = { dates: "relative", client: "docker" };
type Name = keyof typeof STANDARD;
const listeners = new Set<() => void>();

const read = (name: Name) => localStorage.getItem(`seawall-${name}`) ?? STANDARD[name];
const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export function usePreference(name: Name) {
  const value = useSyncExternalStore(subscribe, () => read(name));
  const change = (next: string) => {
    localStorage.setItem(`seawall-${name}`, next);
    for (const listener of listeners) listener();
  };
  return [value, change] as const;
}
