import type { Permission } from "../../api/types";
import { useGet } from "../../hooks";
import { useSession } from "../../session";

/** What the user may do in a project, by Harbor's resource and action names. */
export function usePermissions(project: string | number) {
  const { user, admin } = useSession();
  const query = useGet<Permission[]>(
    "/users/current/permissions",
    { query: { scope: `/project/${project}`, relative: true } },
    { enabled: !!user, staleTime: 30_000 },
  );
  const can = (resource: string, action: string) =>
    admin ||
    !!query.data?.some(
      (item) =>
        (item.resource === resource || item.resource.endsWith(`/${resource}`)) && item.action === action,
    );
  return { can, ready: !user || query.data !== undefined || !!query.error };
}
