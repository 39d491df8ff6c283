// What a page shows (filter, page, sort, tab) is in its address, so that Back, reload and a sent link show it again.
import { useCallback, useState } from "react";
import { useLocation, useNavigate } from "react-router";

export type Changes = Record<string, string | number | undefined | null>;

/** Reads and changes the query of the address. A value that is empty leaves the address. */
export function useAddress() {
  const navigate = useNavigate();
  const { search } = useLocation();
  const get = (name: string) => new URLSearchParams(search).get(name);
  const set = useCallback(
    (changes: Changes, how: { replace?: boolean } = {}) => {
      // The window's own address: two changes in one event must not undo each other.
      const params = new URLSearchParams(window.location.search);
      for (const [name, value] of Object.entries(changes)) {
        if (value === undefined || value === null || value === "") params.delete(name);
        else params.set(name, String(value));
      }
      const next = params.toString();
      if (`?${next}` !== (window.location.search || "?")) {
        navigate({ search: next ? `?${next}` : "" }, { replace: how.replace });
      }
    },
    [navigate],
  );
  return { get, set };
}

/**
 * A filter that is kept in the address under `name`. A changed filter starts at the first page of the list with
 * the same prefix. Text that is typed replaces the address; a choice (`push`) is a step that Back undoes.
 */
export function useFilter(
  name: string,
  options: { prefix?: string; push?: boolean; standard?: string } = {},
) {
  const { prefix = "", push = false, standard = "" } = options;
  const { get, set } = useAddress();
  const value = get(prefix + name) ?? standard;
  const change = useCallback(
    (next: string) =>
      set(
        { [prefix + name]: next === standard ? undefined : next, [`${prefix}page`]: undefined },
        { replace: !push },
      ),
    [set, name, prefix, standard, push],
  );
  return [value, change] as const;
}

/** A value in the address when `address` names a prefix, else in the component alone. */
export function useKept(address: string | undefined, name: string, initial: string) {
  const { get, set } = useAddress();
  const [local, setLocal] = useState<string | undefined>(initial);
  const key = (address ?? "") + name;
  const value = address === undefined ? local : (get(key) ?? initial);
  const change = useCallback(
    (next: string | undefined, more: Changes = {}, replace = false) => {
      if (address === undefined) setLocal(next);
      else set({ [key]: next === initial ? undefined : next, ...more }, { replace });
    },
    [address, key, initial, set],
  );
  return [value, change] as const;
}
