// What words of a search ask for beside names of projects and repositories.
import type { Where } from "../artifacts/where";

// Names of vulnerabilities: CVE-2024-1234, GHSA-xxxx-xxxx-xxxx, DSA-5678-1 and the like.
const CVE = /^(CVE|GHSA|DSA|DLA|ELSA|RHSA|GO|PYSEC|RUSTSEC|ALAS|USN)-[\w-]+$/i;
const DIGEST = /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
const IMAGE =
  /^([a-z0-9][a-z0-9._-]*)\/([a-z0-9][a-z0-9._/-]*)(?::(\w[\w.-]{0,127})|@(sha(?:256|512):[0-9a-f]+))$/;

export const isCve = (words: string) => CVE.test(words.trim());
export const isDigest = (words: string) => DIGEST.test(words.trim());

/** The image that `project/repository:tag` or `project/repository@digest` names. */
export function imageOf(words: string): Where | undefined {
  const found = IMAGE.exec(words.trim());
  if (!found) return undefined;
  return { project_name: found[1], repository_name: found[2], reference: found[3] ?? found[4] };
}
