// The commands that pull or push an artifact, for the clients people use.

export function registryHost(url: string | undefined): string {
  return (url || location.host).replace(/^https?:\/\//, "").replace(/\/+$/, "");
}

export const IMAGE_CLIENTS = ["docker", "podman", "nerdctl", "skopeo", "crane"] as const;

/** Client name and the command that pulls `reference` with it. */
export function pullCommands(kind: string, host: string, repository: string, tag?: string, digest?: string) {
  const reference = digest ? `${repository}@${digest}` : `${repository}:${tag}`;
  if (kind === "CHART") {
    return tag
      ? [["helm", `helm pull oci://${host}/${repository} --version ${tag.replaceAll("_", "+")}`]]
      : [];
  }
  if (kind === "CNAB") return [["cnab-to-oci", `cnab-to-oci pull ${host}/${reference}`]];
  if (kind !== "IMAGE") return [["oras", `oras pull ${host}/${reference}`]];
  return IMAGE_CLIENTS.map((client) => {
    if (client === "skopeo") return [client, `skopeo copy docker://${host}/${reference} oci:image`];
    if (client === "crane") return [client, `crane pull ${host}/${reference} image.tar`];
    return [client, `${client} pull ${host}/${reference}`];
  });
}

export function pushCommands(host: string, project: string) {
  const target = `${host}/${project}`;
  return [
    ["docker", `docker tag SOURCE[:TAG] ${target}/REPOSITORY[:TAG]\ndocker push ${target}/REPOSITORY[:TAG]`],
    ["podman", `podman push IMAGE_ID ${target}/REPOSITORY[:TAG]`],
    ["skopeo", `skopeo copy SOURCE docker://${target}/REPOSITORY[:TAG]`],
    ["helm", `helm push CHART_PACKAGE oci://${target}`],
    ["oras", `oras push ${target}/REPOSITORY[:TAG] FILE`],
  ];
}
