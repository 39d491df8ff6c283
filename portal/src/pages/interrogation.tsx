// Scanners, the scan of everything, the allowlist, and the security hub.
import {
  Anchor,
  Badge,
  Button,
  Group,
  NativeSelect,
  Progress,
  Stack,
  Tabs,
  TagsInput,
  Text,
  TextInput,
} from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { Download, Plus } from "lucide-react";
import { type FormEvent, useState } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { api, url } from "../api/client";
import type {
  CVEAllowlist,
  ExportList,
  Project,
  Scanner,
  ScanStats,
  Schedule,
  SecuritySummary,
  VulnerabilityItem,
} from "../api/types";
import { useConfirm } from "../components/confirm";
import { FormModal, type Values } from "../components/dialogs";
import { ScheduleEditor } from "../components/schedule";
import { SEVERITIES, Severity, SeverityBar } from "../components/severity";
import { DataTable, Toolbar } from "../components/table";
import { Await, Card, Digest, Empty, Page, Status, Time } from "../components/ui";
import { q } from "../format";
import { useAction, useGet, useList } from "../hooks";
import { useI18n } from "../i18n";
import { artifactPath } from "./repository";

export function Interrogation() {
  const { t } = useI18n();
  const { tab = "scanners" } = useParams();
  const navigate = useNavigate();
  return (
    <Page title={t("Interrogation services")} description={t("Scanners and what they found.")}>
      <Tabs
        value={tab}
        keepMounted={false}
        onChange={(next) => navigate(`/harbor/interrogation-services/${next}`)}
      >
        <Tabs.List mb="md" className="tabs">
          <Tabs.Tab value="scanners">{t("Scanners")}</Tabs.Tab>
          <Tabs.Tab value="vulnerability">{t("Vulnerability")}</Tabs.Tab>
          <Tabs.Tab value="security-hub">{t("Security hub")}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="scanners">
          <Scanners />
        </Tabs.Panel>
        <Tabs.Panel value="vulnerability">
          <Stack>
            <ScanAll />
            <Allowlist />
          </Stack>
        </Tabs.Panel>
        <Tabs.Panel value="security-hub">
          <SecurityHub />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function Scanners() {
  const { t } = useI18n();
  const confirm = useConfirm();
  const list = useList<Scanner>("/scanners");
  const [editing, setEditing] = useState<Partial<Scanner> | null>(null);
  const path = (row: Scanner) => ({ registration_id: row.uuid });
  const standard = useAction(
    (row: Scanner) =>
      api.patch("/scanners/{registration_id}", { path: path(row), body: { is_default: true } }),
    "Saved",
  );
  const put = useAction(
    (row: Scanner) => api.put("/scanners/{registration_id}", { path: path(row), body: row }),
    "Saved",
  );
  const remove = useAction(
    (row: Scanner) => api.delete("/scanners/{registration_id}", { path: path(row) }),
    "Deleted",
  );
  const shape = (values: Values) => ({
    name: values.name,
    description: values.description,
    url: values.url,
    auth: values.auth,
    access_credential: values.access_credential,
    skip_certVerify: !values.verify,
    use_internal_addr: !!values.use_internal_addr,
  });
  const ping = useAction(async (values: Values) => {
    await api.post("/scanners/ping", { body: shape(values) });
    notifications.show({ message: t("The scanner answers."), color: "teal" });
  });
  return (
    <>
      <Toolbar refresh={list.refetch}>
        <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => setEditing({})}>
          {t("New scanner")}
        </Button>
      </Toolbar>
      <div className="spaced">
        <DataTable
          label={t("Scanners")}
          list={list}
          rowKey={(row) => row.uuid}
          empty={<Empty title={t("No scanner")}>{t("Add one that speaks the Pluggable Scanner API.")}</Empty>}
          columns={[
            {
              title: t("Name"),
              cell: (row) => (
                <Group gap={6}>
                  <b>{row.name}</b>
                  {row.is_default && (
                    <Badge variant="light" tt="none">
                      {t("Default")}
                    </Badge>
                  )}
                </Group>
              ),
            },
            { title: t("Address"), cell: (row) => row.url || "–" },
            { title: t("Health"), cell: (row) => (row.health ? <Status value={row.health} /> : "–") },
            {
              title: t("State"),
              cell: (row) => (
                <Badge color={row.disabled ? "gray" : "teal"} variant="light" tt="none">
                  {row.disabled ? t("Disabled") : t("Enabled")}
                </Badge>
              ),
            },
            {
              title: t("Adapter"),
              cell: (row) => [row.adapter, row.version].filter(Boolean).join(" ") || "–",
            },
          ]}
          actions={[
            {
              label: t("Make default"),
              hidden: (row) => !!row.is_default,
              run: (row) => standard.mutate(row),
            },
            { label: t("Edit"), run: setEditing },
            { label: t("Enable or disable"), run: (row) => put.mutate({ ...row, disabled: !row.disabled }) },
            {
              label: t("Delete"),
              danger: true,
              run: async (row) => {
                const yes = await confirm({
                  title: t("Delete {name}?", { name: row.name }),
                  body: t("Its reports so far stay."),
                  confirm: t("Delete"),
                  danger: true,
                });
                if (yes) remove.mutate(row);
              },
            },
          ]}
        />
      </div>
      {editing && (
        <FormModal
          opened
          onClose={() => setEditing(null)}
          title={editing.uuid ? t("Edit scanner") : t("New scanner")}
          submit={t("Save")}
          initial={{ ...editing, auth: editing.auth ?? "", verify: !editing.skip_certVerify }}
          fields={[
            { name: "name", label: t("Name"), required: true },
            { name: "description", label: t("Description") },
            { name: "url", label: t("Address"), required: true, placeholder: "http://scanner:8080" },
            {
              name: "auth",
              label: t("Authorization"),
              type: "select",
              options: [
                { value: "", label: t("None") },
                { value: "Basic", label: "Basic" },
                { value: "Bearer", label: "Bearer" },
                { value: "X-ScannerAdapter-API-Key", label: "API key" },
              ],
            },
            {
              name: "access_credential",
              label: t("Credential"),
              type: "password",
              hidden: (values) => !values.auth,
            },
            { name: "verify", label: t("Verify the certificate"), type: "check" },
            {
              name: "use_internal_addr",
              label: t("Give it the internal address of this registry"),
              type: "check",
            },
          ]}
          extra={(values) => (
            <Button variant="default" loading={ping.isPending} onClick={() => ping.mutate(values)}>
              {t("Test connection")}
            </Button>
          )}
          onSubmit={async (values) => {
            if (editing.uuid) {
              await api.put("/scanners/{registration_id}", {
                path: { registration_id: editing.uuid },
                body: { ...editing, ...shape(values) },
              });
            } else await api.create("/scanners", { body: shape(values) });
            list.refetch();
          }}
        />
      )}
    </>
  );
}

function ScanAll() {
  const { t } = useI18n();
  const stats = useGet<ScanStats>(
    "/scans/all/metrics",
    {},
    { refetchInterval: (query) => (query.state.data?.ongoing ? 2000 : 15_000) },
  );
  const schedule = useGet<Schedule>("/system/scanAll/schedule");
  const start = useAction(
    () => api.create("/system/scanAll/schedule", { body: { schedule: { type: "Manual" } } }),
    "Started",
  );
  const stop = useAction(() => api.post("/system/scanAll/stop"), "Stopped");
  const save = useAction(
    (value: object) => api.put("/system/scanAll/schedule", { body: { schedule: value } }),
    "Saved",
  );
  return (
    <Card
      title={t("Scan everything")}
      right={
        stats.data?.ongoing ? (
          <Button size="xs" variant="default" onClick={() => stop.mutate()}>
            {t("Stop")}
          </Button>
        ) : (
          <Button size="xs" onClick={() => start.mutate()}>
            {t("Scan now")}
          </Button>
        )
      }
    >
      <Stack>
        {!!stats.data?.total && (
          <div>
            <Progress
              value={(100 * stats.data.completed) / stats.data.total}
              animated={stats.data.ongoing}
              aria-label={t("Scan everything")}
            />
            <Text size="sm" mt={6}>
              {t("{done} of {total}", { done: stats.data.completed, total: stats.data.total })}{" "}
              {Object.entries(stats.data.metrics ?? {}).map(([name, n]) => (
                <Text span key={name} size="sm" c="dimmed" ml="sm">
                  {name}: {n}
                </Text>
              ))}
            </Text>
          </div>
        )}
        {schedule.data !== undefined || schedule.error ? (
          <ScheduleEditor
            key={schedule.data?.schedule?.cron}
            value={schedule.data?.schedule}
            busy={save.isPending}
            onSave={(value) => save.mutate(value)}
          />
        ) : null}
      </Stack>
    </Card>
  );
}

function Allowlist() {
  const { t } = useI18n();
  const query = useGet<CVEAllowlist>("/system/CVEAllowlist");
  return (
    <Card title={t("CVE allowlist of the system")}>
      <Await query={query}>{(list) => <AllowlistForm key={JSON.stringify(list)} list={list} />}</Await>
    </Card>
  );
}

function AllowlistForm({ list }: { list: CVEAllowlist }) {
  const { t } = useI18n();
  const [ids, setIds] = useState((list?.items ?? []).map((item) => item.cve_id));
  const [expires, setExpires] = useState(
    list?.expires_at ? new Date(list.expires_at * 1000).toISOString().slice(0, 10) : "",
  );
  const save = useAction(
    () =>
      api.put("/system/CVEAllowlist", {
        body: {
          items: ids.map((cve_id) => ({ cve_id })),
          expires_at: expires ? Math.floor(new Date(expires).valueOf() / 1000) : null,
        },
      }),
    "Saved",
  );
  return (
    <Stack align="flex-start">
      <TagsInput
        w="100%"
        label={t("CVEs that are let through")}
        description={t("Projects may have their own list instead.")}
        splitChars={[",", " ", "\n"]}
        value={ids}
        onChange={setIds}
      />
      <TextInput
        type="date"
        label={t("Expires")}
        description={t("Empty: never")}
        value={expires}
        onChange={(event) => setExpires(event.currentTarget.value)}
      />
      <Button size="xs" onClick={() => save.mutate()} loading={save.isPending}>
        {t("Save")}
      </Button>
    </Stack>
  );
}

function SecurityHub() {
  const { t, word } = useI18n();
  const query = useGet<SecuritySummary>("/security/summary", {
    query: { with_dangerous_cve: true, with_dangerous_artifact: true },
  });
  return (
    <Stack>
      <Await query={query}>
        {(summary) => {
          const counts: Record<string, number> = {
            Critical: summary.critical_cnt ?? 0,
            High: summary.high_cnt ?? 0,
            Medium: summary.medium_cnt ?? 0,
            Low: summary.low_cnt ?? 0,
            None: summary.none_cnt ?? 0,
            Unknown: summary.unknown_cnt ?? 0,
          };
          return (
            <>
              <div className="grid stats">
                {(
                  [
                    [t("Vulnerabilities"), summary.total_vuls],
                    [t("Can be fixed"), summary.fixable_cnt],
                    [t("Artifacts scanned"), summary.scanned_cnt],
                    [t("Artifacts"), summary.total_artifact],
                  ] as [string, number | undefined][]
                ).map(([label, value]) => (
                  <div className="card stat" key={label}>
                    <b>{value ?? 0}</b>
                    <span>{label}</span>
                  </div>
                ))}
              </div>
              <Card title={t("By severity")}>
                <Stack gap="sm">
                  <SeverityBar counts={counts} />
                  <Group gap="lg">
                    {SEVERITIES.map((name) => (
                      <span className="sev" key={name}>
                        <i className={`sev-${name.toLowerCase()}`} aria-hidden />
                        {word(name)} <b>{counts[name]}</b>
                      </span>
                    ))}
                  </Group>
                </Stack>
              </Card>
              <div className="grid wide">
                <Card title={t("Most dangerous artifacts")}>
                  {summary.dangerous_artifacts?.length ? (
                    <ul className="plain">
                      {summary.dangerous_artifacts.map((item) => (
                        <li key={item.repository_name + item.digest}>
                          <Anchor
                            component={Link}
                            size="sm"
                            to={artifactPath(
                              item.project_id,
                              item.repository_name.split("/").slice(1).join("/"),
                              item.digest,
                            )}
                          >
                            {item.repository_name}@{item.digest.slice(7, 19)}
                          </Anchor>
                          <Group gap="sm">
                            <span className="sev">
                              <i className="sev-critical" aria-hidden />
                              {item.critical_cnt ?? 0} {word("Critical")}
                            </span>
                            <span className="sev">
                              <i className="sev-high" aria-hidden />
                              {item.high_cnt ?? 0} {word("High")}
                            </span>
                          </Group>
                        </li>
                      ))}
                    </ul>
                  ) : (
                    <Text size="sm" c="dimmed">
                      {t("None")}
                    </Text>
                  )}
                </Card>
                <Card title={t("Most dangerous CVEs")}>
                  {summary.dangerous_cves?.length ? (
                    <ul className="plain">
                      {summary.dangerous_cves.map((item) => (
                        <li key={`${item.cve_id} ${item.package} ${item.version}`}>
                          <div>
                            <b>{item.cve_id}</b>{" "}
                            <Text span size="sm" c="dimmed">
                              {item.package} {item.version}
                            </Text>
                          </div>
                          <Group gap="sm">
                            <Severity value={item.severity} />
                            {!!item.cvss_score_v3 && <Text size="sm">CVSS {item.cvss_score_v3}</Text>}
                          </Group>
                        </li>
                      ))}
                    </ul>
                  ) : (
                    <Text size="sm" c="dimmed">
                      {t("None")}
                    </Text>
                  )}
                </Card>
              </div>
            </>
          );
        }}
      </Await>
      <VulnerabilitySearch />
      <Exports />
    </Stack>
  );
}

const FIELDS = [
  "cve_id",
  "severity",
  "cvss_score_v3",
  "repository_name",
  "project_id",
  "package",
  "tag",
  "digest",
];

function VulnerabilitySearch() {
  const { t, word } = useI18n();
  const [field, setField] = useState("cve_id");
  const [value, setValue] = useState("");
  const [terms, setTerms] = useState<string | undefined>();
  const list = useList<VulnerabilityItem>("/security/vul", {
    query: { q: terms, tune_count: true, with_tag: true },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const text = value.trim();
    const range =
      field === "cvss_score_v3" && /^\d/.test(text) && !text.startsWith("[") ? `[${text}~10]` : text;
    setTerms(q({ [field]: range }));
  };
  return (
    <Card title={t("Find vulnerabilities")}>
      <Stack>
        <form onSubmit={submit}>
          <Group gap="xs" align="flex-end">
            <NativeSelect
              aria-label={t("Field")}
              value={field}
              onChange={(event) => {
                setField(event.currentTarget.value);
                setValue(event.currentTarget.value === "severity" ? "Critical" : "");
              }}
              data={FIELDS.map((name) => ({ value: name, label: word(name) }))}
            />
            {field === "severity" ? (
              <NativeSelect
                aria-label={t("Value")}
                value={value}
                onChange={(event) => setValue(event.currentTarget.value)}
                data={SEVERITIES.map((name) => ({ value: name, label: word(name) }))}
              />
            ) : (
              <TextInput
                aria-label={t("Value")}
                value={value}
                placeholder={
                  field === "cve_id" ? "CVE-2024-1234" : field === "cvss_score_v3" ? "7.0" : undefined
                }
                onChange={(event) => setValue(event.currentTarget.value)}
              />
            )}
            <Button type="submit" variant="default">
              {t("Search")}
            </Button>
          </Group>
        </form>
        <DataTable
          label={t("Vulnerabilities")}
          list={list}
          rowKey={(row) => `${row.cve_id} ${row.digest} ${row.package} ${row.version}`}
          empty={<Empty title={t("Nothing matches")} />}
          expand={(row) => (
            <Stack gap={6}>
              <Text size="sm" className="markdown">
                {row.desc || t("No description.")}
              </Text>
              {row.links?.map((link) => (
                <Anchor key={link} href={link} size="sm" target="_blank" rel="noreferrer noopener">
                  {link}
                </Anchor>
              ))}
            </Stack>
          )}
          columns={[
            { title: "CVE", cell: (row) => <b>{row.cve_id}</b> },
            { title: t("Severity"), cell: (row) => <Severity value={row.severity} /> },
            { title: "CVSS", cell: (row) => row.cvss_v3_score || "–" },
            { title: t("Repository"), cell: (row) => row.repository_name },
            {
              title: t("Artifact"),
              cell: (row) => (
                <Digest
                  value={row.digest}
                  to={artifactPath(
                    row.project_id,
                    row.repository_name.split("/").slice(1).join("/"),
                    row.digest,
                  )}
                />
              ),
            },
            { title: t("Package"), cell: (row) => `${row.package} ${row.version}` },
            { title: t("Fixed in"), cell: (row) => row.fixed_version || "–" },
          ]}
        />
      </Stack>
    </Card>
  );
}

function Exports() {
  const { t } = useI18n();
  const [asking, setAsking] = useState(false);
  const projects = useGet<Project[]>(
    "/projects",
    { query: { page_size: 100, sort: "name" } },
    { enabled: asking },
  );
  const query = useGet<ExportList>(
    "/export/cve/executions",
    {},
    {
      refetchInterval: (current) =>
        current.state.data?.items?.some((item) => ["Running", "Pending"].includes(item.status))
          ? 2000
          : false,
    },
  );
  return (
    <Card
      title={t("CSV exports")}
      right={
        <Button size="xs" variant="default" onClick={() => setAsking(true)}>
          {t("New export")}
        </Button>
      }
    >
      <DataTable
        label={t("CSV exports")}
        list={{ rows: query.data?.items ?? [], error: query.error, refetch: query.refetch }}
        rowKey={(row) => row.id}
        empty={<Empty title={t("No exports yet")} />}
        columns={[
          { title: t("Export"), cell: (row) => row.id },
          { title: t("Status"), cell: (row) => <Status value={row.status} title={row.status_text} /> },
          { title: t("Started"), cell: (row) => <Time value={row.start_time} /> },
          {
            title: t("File"),
            cell: (row) =>
              row.file_present ? (
                <Anchor
                  size="sm"
                  href={url("/export/cve/download/{execution_id}", {
                    path: { execution_id: row.id },
                    query: { format: "csv" },
                  })}
                  download
                >
                  <Download size={13} aria-hidden /> {t("Download")}
                </Anchor>
              ) : (
                "–"
              ),
          },
        ]}
      />
      <FormModal
        opened={asking}
        onClose={() => setAsking(false)}
        title={t("New export")}
        submit={t("Start")}
        initial={{}}
        fields={[
          {
            name: "projects",
            label: t("Projects"),
            type: "multi",
            required: true,
            options: (projects.data ?? []).map((item) => ({
              value: String(item.project_id),
              label: item.name ?? "",
            })),
          },
          { name: "repositories", label: t("Repositories"), placeholder: "library/*", help: t("Empty: all") },
          { name: "tags", label: t("Tags"), placeholder: "v*", help: t("Empty: all") },
          { name: "cveIds", label: t("CVEs, separated by commas"), help: t("Empty: all") },
        ]}
        onSubmit={async (values) => {
          await api.post("/export/cve", {
            headers: { "X-Scan-Data-Type": "application/vnd.security.vulnerability.report; version=1.1" },
            body: { job_name: "portal", labels: [], ...values, projects: values.projects.map(Number) },
          });
          query.refetch();
        }}
      />
    </Card>
  );
}
