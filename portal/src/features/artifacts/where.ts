// Which artifact a request is about.

export const ROOT = "/projects/{project_name}/repositories/{repository_name}/artifacts/{reference}";
export type Where = { project_name: string; repository_name: string; reference: string };
