import type { Follow } from "../../lib/operations";

/** Where an artifact says how its scan goes on. */
export const scanned = (
  path: { project_name?: string; repository_name: string; reference?: string },
  report: "vulnerability" | "sbom",
): Follow => ({
  template: "/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}",
  options: { path, query: { with_scan_overview: true, with_sbom_overview: true } },
  report,
});
