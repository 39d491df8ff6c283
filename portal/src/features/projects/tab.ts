// What every tab of a project is given.
import type { Project } from "../../api/types";

export interface ProjectTab {
  project: Project;
  can: (resource: string, action: string) => boolean;
}
