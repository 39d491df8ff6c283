import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useMemo } from "react";
import { ApiError, api, whenExpired } from "./api/client";
import type { SystemInfo, User } from "./api/types";

interface Session {
  user: User | null;
  info: SystemInfo;
  admin: boolean;
  refresh: () => Promise<unknown>;
}

const Context = createContext<Session | null>(null);

async function current(): Promise<User | null> {
  try {
    return await api.get<User>("/users/current");
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 404)) return null;
    throw error;
  }
}

/** Who is signed in, and what the system says of itself; waits for both before showing anything. */
export function SessionProvider(props: { children: ReactNode; fallback: (error: unknown) => ReactNode }) {
  const client = useQueryClient();
  const user = useQuery({ queryKey: ["session"], queryFn: current, staleTime: 60_000, retry: 2 });
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
  const signedIn = !!user.data;

  useEffect(() => {
    // A 401 in the middle of work: ask once more who is signed in; the router then shows the login.
    whenExpired(() => {
      if (signedIn) client.invalidateQueries({ queryKey: ["session"] });
    });
  }, [client, signedIn]);

  const value = useMemo<Session | null>(
    () =>
      user.data === undefined || !info.data
        ? null
        : {
            user: user.data,
            info: info.data,
            admin: !!(user.data?.sysadmin_flag || user.data?.admin_role_in_auth),
            refresh: () => client.resetQueries(),
          },
    [user.data, info.data, client],
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
