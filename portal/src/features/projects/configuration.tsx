import { Button, Group, NativeSelect, Radio, Stack, Switch, TagsInput, TextInput } from "@mantine/core";
import { useState } from "react";
import { api } from "../../api/client";
import type { CVEAllowlist, ProjectMetadata } from "../../api/types";
import { Card } from "../../components/ui";
import { useAction, useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { useSession } from "../../session";
import { day, endOf, itemsOf } from "../scanning/allowlist";
import type { ProjectTab } from "./tab";
import { TrustedKeys } from "./trusted-keys";

export function ProjectConfiguration({ project, can }: ProjectTab) {
  const { t, word } = useI18n();
  const { admin } = useSession();
  const [touched, touch] = useState<ProjectMetadata>({});
  const [list, setList] = useState<CVEAllowlist | null>(null);
  const metadata: ProjectMetadata = { ...project.metadata, ...touched };
  const setMetadata = (next: ProjectMetadata) => touch((old) => ({ ...old, ...next }));
  const allow = list ?? project.cve_allowlist ?? {};
  const setAllow = (next: CVEAllowlist) => setList(next);
  const system = useGet<CVEAllowlist>("/system/CVEAllowlist");
  const save = useAction(async () => {
    await api.put("/projects/{project_name_or_id}", {
      path: { project_name_or_id: project.project_id },
      // Only what was touched: the rest may have been changed elsewhere since.
      body: {
        ...(Object.keys(touched).length ? { metadata: touched } : {}),
        ...(list ? { cve_allowlist: { ...list, project_id: project.project_id } } : {}),
      },
    });
    touch({});
    setList(null);
  }, "Saved");
  const readOnly = !can("project", "update") && !can("configuration", "update");
  const flag = (name: keyof ProjectMetadata) => ({
    checked: metadata[name] === "true",
    disabled: readOnly,
    onChange: (event: React.ChangeEvent<HTMLInputElement>) =>
      setMetadata({ [name]: String(event.currentTarget.checked) }),
  });
  // Null in an answer, absent in what was touched.
  const isVirtual = metadata.virtual_members !== undefined && metadata.virtual_members !== null;
  const own = metadata.reuse_sys_cve_allowlist === "false";
  const expires = day(allow.expires_at);
  return (
    <Stack>
      <div className="grid wide">
        <Card title={t("Access")}>
          <Switch
            label={t("Public")}
            description={t("Anyone may pull without signing in.")}
            {...flag("public")}
          />
        </Card>
        <Card title={t("Content trust")}>
          <Stack gap="sm">
            <Switch
              label={t("Serve only images signed with Cosign")}
              {...flag("enable_content_trust_cosign")}
            />
            <Switch label={t("Serve only images signed with Notation")} {...flag("enable_content_trust")} />
          </Stack>
        </Card>
        <Card title={t("Vulnerabilities")}>
          <Stack gap="sm">
            <Switch label={t("Scan every push")} {...flag("auto_scan")} />
            <Switch label={t("Make an SBOM of every push")} {...flag("auto_sbom_generation")} />
            <Switch label={t("Do not serve images with vulnerabilities")} {...flag("prevent_vul")} />
            {metadata.prevent_vul === "true" && (
              <NativeSelect
                label={t("From this severity on")}
                disabled={readOnly}
                value={metadata.severity ?? "low"}
                onChange={(event) => setMetadata({ severity: event.currentTarget.value })}
                data={["critical", "high", "medium", "low", "none"].map((value) => ({
                  value,
                  label: word(value[0].toUpperCase() + value.slice(1)),
                }))}
              />
            )}
          </Stack>
        </Card>
        <Card title={t("CVE allowlist")}>
          <Stack gap="sm">
            <Radio.Group
              aria-label={t("CVE allowlist")}
              value={own ? "own" : "system"}
              onChange={(value) => setMetadata({ reuse_sys_cve_allowlist: String(value === "system") })}
            >
              <Group>
                <Radio value="system" label={t("The system's")} disabled={readOnly} />
                <Radio value="own" label={t("The project's own")} disabled={readOnly} />
              </Group>
            </Radio.Group>
            <TagsInput
              label={t("CVEs that are let through")}
              disabled={readOnly || !own}
              value={((own ? allow.items : system.data?.items) ?? []).map((item) => item.cve_id)}
              onChange={(ids) => setAllow({ ...allow, items: itemsOf(allow, ids) })}
            />
            {own && (
              <TextInput
                type="date"
                label={t("Expires")}
                description={t("Empty: never")}
                disabled={readOnly}
                value={expires}
                onChange={(event) => setAllow({ ...allow, expires_at: endOf(event.currentTarget.value) })}
              />
            )}
          </Stack>
        </Card>
        {!!project.registry_id && (
          <Card title={t("Proxy cache")}>
            <TextInput
              label={t("Bandwidth (Kbps)")}
              description={t("-1 means no limit")}
              disabled={readOnly}
              value={metadata.proxy_speed_kb ?? "-1"}
              onChange={(event) => setMetadata({ proxy_speed_kb: event.currentTarget.value })}
            />
            <Switch
              mt="sm"
              label={t("Serve what is here when it is gone upstream")}
              description={t("Otherwise a tag that was deleted there is not found here either.")}
              {...flag("proxy_cache_local_on_not_found")}
            />
            <Switch
              mt="sm"
              label={t("Look up the tags that it serves each hour")}
              description={t("Those that have moved upstream are fetched before anybody pulls them.")}
              {...flag("proxy_cache_warm")}
            />
          </Card>
        )}
        {(isVirtual || (admin && !project.registry_id && !project.repo_count)) && (
          <Card title={t("Virtual project")}>
            <TagsInput
              label={t("Pulled from these projects, in this order")}
              description={t("Hosted projects come before proxy-cache projects. It takes no pushes.")}
              disabled={readOnly || !admin}
              value={(metadata.virtual_members ?? "").split(",").filter(Boolean)}
              onChange={(names) => setMetadata({ virtual_members: names.join(",") })}
            />
            <NativeSelect
              mt="sm"
              label={t("Where several hosted projects have an image")}
              disabled={readOnly || !admin}
              value={metadata.virtual_order || "first"}
              onChange={(event) => setMetadata({ virtual_order: event.currentTarget.value })}
              data={[
                { value: "first", label: t("The first that has its name") },
                { value: "newest", label: t("The newest tag") },
              ]}
            />
          </Card>
        )}
      </div>
      {(can("metadata", "read") || !readOnly) && <TrustedKeys project={project.project_id} may={!readOnly} />}
      {!readOnly && (
        <Group>
          <Button onClick={() => save.mutate()} loading={save.isPending}>
            {t("Save")}
          </Button>
        </Group>
      )}
    </Stack>
  );
}
