// Bodies of the v2.0 API that the portal reads. Fields that an answer may leave out are optional.

export interface SystemInfo {
  auth_mode?: string;
  banner_message?: string | null;
  external_url?: string;
  registry_url?: string;
  harbor_version?: string;
  has_ca_root?: boolean;
  oidc_provider_name?: string | null;
  primary_auth_mode?: boolean;
  project_creation_restriction?: string;
  read_only?: boolean;
  self_registration?: boolean;
}
export interface User {
  user_id: number;
  username: string;
  email?: string;
  realname?: string;
  comment?: string;
  sysadmin_flag?: boolean;
  admin_role_in_auth?: boolean;
  creation_time?: string;
  oidc_user_meta?: { secret?: string; subiss?: string };
}
export interface UserGroup {
  id: number;
  group_name: string;
  group_type: number;
  ldap_group_dn?: string;
}
export interface ProjectMetadata {
  public?: string;
  enable_content_trust?: string;
  enable_content_trust_cosign?: string;
  prevent_vul?: string;
  severity?: string;
  auto_scan?: string;
  auto_sbom_generation?: string;
  reuse_sys_cve_allowlist?: string;
  retention_id?: string;
  proxy_speed_kb?: string;
}
export interface CVEAllowlist {
  id?: number;
  project_id?: number;
  expires_at?: number | null;
  items?: { cve_id: string }[];
}
export interface Project {
  project_id: number;
  name: string;
  owner_name?: string;
  registry_id?: number | null;
  creation_time?: string;
  update_time?: string;
  current_user_role_id?: number;
  current_user_role_ids?: number[];
  repo_count?: number;
  metadata?: ProjectMetadata;
  cve_allowlist?: CVEAllowlist;
}
export interface ResourceList {
  storage?: number;
}
export interface ProjectSummary {
  repo_count?: number;
  project_admin_count?: number;
  maintainer_count?: number;
  developer_count?: number;
  guest_count?: number;
  limited_guest_count?: number;
  quota?: { hard?: ResourceList; used?: ResourceList };
  registry?: Registry;
}
export interface Permission {
  resource: string;
  action: string;
}
export interface Member {
  id: number;
  entity_name: string;
  entity_id: number;
  entity_type: "u" | "g";
  role_id: number;
  role_name: string;
}
export interface Repository {
  id: number;
  project_id: number;
  name: string;
  description?: string;
  artifact_count?: number;
  pull_count?: number;
  creation_time?: string;
  update_time?: string;
}
export interface Tag {
  id: number;
  name: string;
  push_time?: string;
  pull_time?: string;
  immutable?: boolean;
}
export interface Label {
  id: number;
  name: string;
  description?: string;
  color?: string;
  scope?: string;
  project_id?: number;
  creation_time?: string;
}
export interface SeveritySummary {
  total?: number;
  fixable?: number;
  summary?: Record<string, number>;
}
export interface ScanReportSummary {
  report_id?: string;
  scan_status?: string;
  severity?: string;
  duration?: number;
  start_time?: string;
  end_time?: string;
  complete_percent?: number;
  summary?: SeveritySummary;
  scanner?: { name?: string; vendor?: string; version?: string };
}
export interface SbomOverview {
  scan_status?: string;
  sbom_digest?: string;
  report_id?: string;
  start_time?: string;
  end_time?: string;
  duration?: number;
}
export interface Accessory {
  id: number;
  artifact_id?: number;
  subject_artifact_digest?: string;
  digest: string;
  size?: number;
  type: string;
  creation_time?: string;
}
export interface Reference {
  child_id?: number;
  child_digest: string;
  platform?: { architecture?: string; os?: string; variant?: string } | null;
  annotations?: Record<string, string> | null;
}
export interface Artifact {
  id: number;
  type?: string;
  media_type?: string;
  manifest_media_type?: string;
  artifact_type?: string;
  project_id: number;
  repository_id: number;
  repository_name?: string;
  digest: string;
  size?: number;
  push_time?: string;
  pull_time?: string;
  extra_attrs?: Record<string, unknown> | null;
  annotations?: Record<string, string> | null;
  references?: Reference[] | null;
  tags?: Tag[] | null;
  addition_links?: Record<string, { href: string; absolute?: boolean }> | null;
  labels?: Label[] | null;
  scan_overview?: Record<string, ScanReportSummary> | null;
  sbom_overview?: SbomOverview | null;
  accessories?: Accessory[] | null;
}
export interface HistoryEntry {
  created?: string;
  created_by?: string;
  comment?: string;
  empty_layer?: boolean;
}
export interface Vulnerability {
  id: string;
  package: string;
  version: string;
  fix_version?: string;
  severity: string;
  description?: string;
  links?: string[];
  preferred_cvss?: { score_v3?: number | null; score_v2?: number | null } | null;
  cwe_ids?: string[];
}
export interface VulnerabilityReport {
  generated_at?: string;
  severity?: string;
  scanner?: { name?: string; vendor?: string; version?: string };
  vulnerabilities?: Vulnerability[];
}
export interface Access {
  resource: string;
  action: string;
  effect?: string;
}
export interface RobotPermission {
  kind: "project" | "system";
  namespace: string;
  access: Access[];
}
export interface Robot {
  id: number;
  name: string;
  description?: string;
  level: "project" | "system";
  duration?: number;
  editable?: boolean;
  disable?: boolean;
  expires_at?: number;
  creation_time?: string;
  permissions?: RobotPermission[];
}
export interface RobotCreated {
  id: number;
  name: string;
  secret: string;
  expires_at?: number;
}
export interface PermissionCatalogue {
  system: Permission[];
  project: Permission[];
}
export interface Selector {
  kind: string;
  decoration: string;
  pattern: string;
  extras?: string;
}
export interface RetentionRule {
  id?: number;
  priority?: number;
  disabled?: boolean;
  action: string;
  template: string;
  params?: Record<string, unknown>;
  tag_selectors: Selector[];
  scope_selectors: { repository?: Selector[] };
}
export interface RetentionPolicy {
  id?: number;
  algorithm: string;
  rules: RetentionRule[];
  trigger: { kind: string; settings?: { cron?: string; next_scheduled_time?: string }; references?: object };
  scope: { level: string; ref: number };
}
export interface RetentionExecution {
  id: number;
  policy_id?: number;
  start_time?: string;
  end_time?: string;
  status: string;
  trigger?: string;
  dry_run?: boolean;
}
export interface RetentionTask {
  id: number;
  repository: string;
  status: string;
  start_time?: string;
  end_time?: string;
  total?: number;
  retained?: number;
}
export interface ImmutableRule {
  id?: number;
  priority?: number;
  disabled?: boolean;
  action: string;
  template: string;
  tag_selectors: Selector[];
  scope_selectors: { repository?: Selector[] };
}
export interface WebhookTarget {
  type: string;
  address: string;
  auth_header?: string;
  skip_cert_verify?: boolean;
  payload_format?: string;
}
export interface WebhookPolicy {
  id: number;
  name: string;
  description?: string;
  enabled?: boolean;
  event_types?: string[];
  targets?: WebhookTarget[];
  creation_time?: string;
}
export interface WebhookEvents {
  event_type?: string[];
  notify_type?: string[];
  payload_formats?: { notify_type: string; formats: string[] }[];
}
export interface Execution {
  id: number;
  vendor_type?: string;
  status: string;
  status_message?: string;
  trigger?: string;
  start_time?: string;
  end_time?: string;
  extra_attrs?: Record<string, unknown> | null;
}
export interface Task {
  id: number;
  execution_id?: number;
  status: string;
  status_message?: string;
  run_count?: number;
  creation_time?: string;
  start_time?: string;
  end_time?: string;
  extra_attrs?: Record<string, unknown> | null;
}
export interface Registry {
  id: number;
  name: string;
  url: string;
  type: string;
  description?: string;
  insecure?: boolean;
  status?: string;
  ca_certificate?: string;
  credential?: { type?: string; access_key?: string; access_secret?: string };
  creation_time?: string;
}
export interface ReplicationFilter {
  type: string;
  value: string | string[];
  decoration?: string;
}
export interface ReplicationPolicy {
  id: number;
  name: string;
  description?: string;
  src_registry?: Partial<Registry> | null;
  dest_registry?: Partial<Registry> | null;
  dest_namespace?: string;
  dest_namespace_replace_count?: number;
  trigger?: { type: string; trigger_settings?: { cron?: string } };
  filters?: ReplicationFilter[];
  replicate_deletion?: boolean;
  deletion?: boolean;
  override?: boolean;
  enabled?: boolean;
  speed?: number;
  copy_by_chunk?: boolean;
  single_active_replication?: boolean;
  creation_time?: string;
}
export interface ReplicationExecution {
  id: number;
  policy_id: number;
  status: string;
  status_text?: string;
  trigger?: string;
  start_time?: string;
  end_time?: string;
  total?: number;
  failed?: number;
  succeed?: number;
  in_progress?: number;
  stopped?: number;
}
export interface ReplicationTask {
  id: number;
  status: string;
  operation?: string;
  resource_type?: string;
  src_resource?: string;
  dst_resource?: string;
  start_time?: string;
  end_time?: string;
}
export interface Quota {
  id: number;
  ref?: { id?: number; name?: string; owner_name?: string };
  hard?: ResourceList;
  used?: ResourceList;
  creation_time?: string;
  update_time?: string;
}
export interface ScheduleObject {
  type: string;
  cron?: string;
  next_scheduled_time?: string;
}
export interface Schedule {
  id?: number;
  schedule?: ScheduleObject | null;
  parameters?: Record<string, unknown>;
  job_parameters?: string;
}
export interface JobHistory {
  id: number;
  job_name?: string;
  job_kind?: string;
  job_parameters?: string;
  job_status: string;
  creation_time?: string;
  update_time?: string;
}
export interface WorkerPool {
  pid?: number;
  worker_pool_id: string;
  start_at?: string;
  heartbeat_at?: string;
  concurrency?: number;
  host?: string;
}
export interface Worker {
  id: string;
  pool_id: string;
  job_name?: string;
  job_id?: string;
  start_at?: string;
  check_in?: string;
  checkin_at?: string;
}
export interface JobQueue {
  job_type: string;
  count?: number;
  latency?: number;
  paused?: boolean;
}
export interface ScheduleTask {
  id: number;
  vendor_type: string;
  vendor_id?: number;
  cron?: string;
  update_time?: string;
}
export interface AuditLog {
  id: number;
  username: string;
  resource: string;
  resource_type: string;
  operation: string;
  operation_description?: string;
  operation_result?: boolean;
  op_time: string;
}
export interface Scanner {
  uuid: string;
  name: string;
  description?: string;
  url?: string;
  disabled?: boolean;
  is_default?: boolean;
  auth?: string;
  access_credential?: string;
  skip_certVerify?: boolean;
  use_internal_addr?: boolean;
  adapter?: string;
  vendor?: string;
  version?: string;
  health?: string;
  capabilities?: Record<string, unknown>;
}
export interface ScanStats {
  total: number;
  completed: number;
  metrics?: Record<string, number>;
  ongoing?: boolean;
  trigger?: string;
}
export interface SecuritySummary {
  critical_cnt?: number;
  high_cnt?: number;
  medium_cnt?: number;
  low_cnt?: number;
  none_cnt?: number;
  unknown_cnt?: number;
  total_vuls?: number;
  scanned_cnt?: number;
  total_artifact?: number;
  fixable_cnt?: number;
  dangerous_cves?: {
    cve_id: string;
    severity: string;
    cvss_score_v3?: number;
    package?: string;
    version?: string;
    desc?: string;
  }[];
  dangerous_artifacts?: {
    project_id: number;
    repository_name: string;
    digest: string;
    critical_cnt?: number;
    high_cnt?: number;
    medium_cnt?: number;
  }[];
}
export interface VulnerabilityItem {
  project_id: number;
  repository_name: string;
  digest: string;
  tags?: string[] | null;
  cve_id: string;
  severity: string;
  cvss_v3_score?: number;
  package: string;
  version: string;
  fixed_version?: string;
  desc?: string;
  links?: string[] | null;
}
export type Configurations = Record<string, { value?: unknown; editable?: boolean } | undefined>;
export interface Statistics {
  private_project_count?: number;
  private_repo_count?: number;
  public_project_count?: number;
  public_repo_count?: number;
  total_project_count?: number;
  total_repo_count?: number;
  total_storage_consumption?: number;
}
export interface Health {
  status: string;
  components?: { name: string; status: string; error?: string }[];
}
export interface SearchResult {
  project?: Project[];
  repository?: {
    project_id: number;
    project_name: string;
    project_public?: boolean;
    repository_name: string;
    pull_count?: number;
    artifact_count?: number;
  }[];
}
export interface ExportExecution {
  id: number;
  user_name?: string;
  status: string;
  trigger?: string;
  start_time?: string;
  end_time?: string;
  file_present?: boolean;
}
