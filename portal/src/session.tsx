import { useQuery, useQueryClient } from "@tanstack/react-query";
import {
  createContext,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import { ApiError, api, CURRENT, whenExpired } from "./api/client";
import type { SystemInfo, User } from "./api/types";
import { follow } from "./lib/live";

interface Session {
  user: User | null;
  info: SystemInfo;
  admin: boolean;
  /** The session of `user` ended while the page was open: the page waits behind the sign-in. */
  ended: boolean;
  /** After a sign-in or a sign-out: asks for everything once more. */
  refresh: () => Promise<unknown>;
  /** Looks whether the session is still good. */
  check: () => Promise<unknown>;
}

const Context = createContext<Session | null>(null);

async function current(): Promise<User | null> {
  try {
    return await api.get<User>(CURRENT);
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 404)) return null;
    throw error;
  }
}

const SESSION = ["session"];
// Tabs say to each other that somebody signed in or out.
const tabs = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("seawall-session");

/** Who is signed in, and what the system says of itself; waits for both before showing anything. */
export function SessionProvider(props: { children: ReactNode; fallback: (error: unknown) => ReactNode }) {
  const client = useQueryClient();
  const user = useQuery({ queryKey: SESSION, queryFn: current, staleTime: 15_000, retry: 2 });
  const info = useQuery({
    queryKey: ["/systeminfo"],
    queryFn: async () => {
      // The time would make every answer another one, and the whole page be drawn again.
      const { current_time, ...info } = await api.get<SystemInfo>("/systeminfo");
      return info as SystemInfo;
    },
    staleTime: 10_000,
    // Banner, read-only mode and the role of this site change while people look.
    refetchInterval: 20_000,
    retry: 2,
  });
  // The person whose page this is. When the session ends it stays that person's until somebody signs in.
  const [owner, setOwner] = useState<User | null>(null);
  const leaving = useRef(false);
  const now = user.data;
  if (now && now !== owner && (!owner || now.user_id === owner.user_id)) setOwner(now);
  const ended = now === null && owner !== null && !leaving.current;
  const other = !!now && !!owner && now.user_id !== owner.user_id;

  const check = useCallback(
    () => client.refetchQueries({ queryKey: SESSION }, { cancelRefetch: false }),
    [client],
  );
  const refresh = useCallback(async () => {
    leaving.current = true;
    setOwner(null);
    await client.resetQueries();
    leaving.current = false;
    tabs?.postMessage("changed");
  }, [client]);

  useEffect(() => {
    // A 401 in the middle of work: ask once who is signed in, however many requests were refused.
    whenExpired(() => {
      if (client.getQueryData(SESSION)) check();
    });
    const look = () => document.visibilityState === "visible" && check();
    document.addEventListener("visibilitychange", look);
    tabs?.addEventListener("message", check);
    return () => {
      document.removeEventListener("visibilitychange", look);
      tabs?.removeEventListener("message", check);
    };
  }, [check, client]);

  const id = now?.user_id;
  useEffect(() => {
    if (id !== undefined) tabs?.postMessage("changed");
  }, [id]);
  useEffect(() => {
    if (id !== undefined) return follow(client, check);
  }, [id, client, check]);

  // Only those who are signed in get the version: without it the session has ended.
  const unknown = !!owner && info.data !== undefined && !info.data.harbor_version;
  useEffect(() => {
    if (unknown) check();
  }, [unknown, check]);

  useEffect(() => {
    // Somebody else signed in here or in another tab: nothing of the first person's page may stay.
    if (other) location.reload();
  }, [other]);

  // Signed in again, here or in another tab: what was refused meanwhile is asked for once more.
  const was = useRef(false);
  useEffect(() => {
    if (was.current && !ended) client.invalidateQueries();
    was.current = ended;
  }, [ended, client]);

  const shown = ended ? owner : now;
  const value = useMemo<Session | null>(
    () =>
      shown === undefined || !info.data
        ? null
        : {
            user: shown,
            info: info.data,
            admin: !!(shown?.sysadmin_flag || shown?.admin_role_in_auth),
            ended,
            refresh,
            check,
          },
    [shown, info.data, ended, refresh, check],
  );
  if (!value) {
    const error = user.error ?? info.error;
    return error ? props.fallback(error) : null;
  }
  return <Context.Provider value={value}>{props.children}</Context.Provider>;
}

export function useSession() {
  const value = useContext(Context);
  if (!value) throw new Error("useSession outside SessionProvider");
  return value;
}
