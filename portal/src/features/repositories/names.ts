// Names of repositories, and the addresses of their pages.

export const artifactPath = (project: number, repository: string, reference: string) =>
  `/harbor/projects/${project}/repositories/${encodeURIComponent(repository)}/artifacts-tab/artifacts/${reference}`;

/** A repository's name inside its project. */
export function within(project: string, repository: string) {
  return repository.startsWith(`${project}/`) ? repository.slice(project.length + 1) : repository;
}
