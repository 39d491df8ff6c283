import type { Translate } from "../../i18n";

/** Harbor's role ids, strongest first in the order people expect to choose from. */
export const ROLES = [1, 4, 2, 3, 5] as const;

export function roleName(t: Translate, role: number | undefined, admin = false): string {
  switch (role) {
    case 1:
      return t("Project admin");
    case 2:
      return t("Developer");
    case 3:
      return t("Guest");
    case 4:
      return t("Maintainer");
    case 5:
      return t("Limited guest");
    default:
      return admin ? t("Administrator") : "–";
  }
}
