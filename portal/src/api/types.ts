// Bodies of the v2.0 API that the portal reads: those of our OpenAPI document (`schema.ts`, generated) under the
// names used here, and by hand what the document leaves open (an object of any shape).
import type { components } from "./schema";

type Schema = components["schemas"];
/** Null and absent are one to the portal. */
type Plain<T> = T extends readonly (infer Item)[]
  ? Plain<Item>[]
  : T extends object
    ? { [K in keyof T]: Plain<Exclude<T[K], null>> }
    : T;
/** A schema of the document; `K`: fields that answers always have though requests with the schema need not. */
type Body<N extends keyof Schema, K extends keyof Plain<Schema[N]> = never> = Plain<Schema[N]> &
  Required<Pick<Plain<Schema[N]>, K>>;

export type SystemInfo = Body<"GeneralInfo">;
export type User = Body<"UserResp">;
export type UserGroup = Body<"UserGroup", "id" | "group_name" | "group_type">;
export type ProjectMetadata = Body<"ProjectMetadata">;
export type CVEAllowlist = Body<"CVEAllowlist">;
export type Project = Body<"Project">;
export type ResourceList = Body<"ResourceList">;
export type ProjectSummary = Body<"ProjectSummary">;
export type Permission = Body<"Permission">;
export type Member = Body<"ProjectMemberEntity", "id" | "entity_name">;
export type Repository = Body<"Repository", "id" | "name">;
export type Tag = Body<"Tag", "id" | "name">;
export type Label = Body<"Label", "id" | "name">;
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
export type Accessory = Body<"Accessory">;
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
export type Access = Body<"RobotAccess", "resource" | "action">;
export type RobotPermission = Body<"RobotPermission", "kind" | "namespace" | "access">;
export type Robot = Body<"Robot", "id" | "name">;
export type RobotCreated = Body<"RobotCreated">;
export type PermissionCatalogue = Body<"Permissions">;
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
export type RetentionExecution = Body<"RetentionExecution", "id" | "status">;
export type RetentionTask = Body<"RetentionExecutionTask">;
export interface ImmutableRule {
  id?: number;
  priority?: number;
  disabled?: boolean;
  action: string;
  template: string;
  tag_selectors: Selector[];
  scope_selectors: { repository?: Selector[] };
}
export type WebhookTarget = Body<"WebhookTargetObject">;
export type WebhookPolicy = Body<"WebhookPolicy", "id" | "name">;
export type WebhookEvents = Body<"SupportedWebhookEventTypes">;
export type Execution = Body<"WebhookExecution">;
export type Task = Body<"WebhookTask">;
export type Registry = Body<"Registry", "id" | "name">;
export type ReplicationFilter = Body<"ReplicationFilter", "type">;
export type ReplicationPolicy = Body<"ReplicationPolicy", "id" | "name">;
export type ReplicationExecution = Body<"ReplicationExecution">;
export type ReplicationTask = Body<"ReplicationTask">;
export type Quota = Body<"Quota">;
export type ScheduleObject = Body<"ScheduleObj">;
export interface Schedule {
  id?: number;
  schedule?: ScheduleObject | null;
  parameters?: Record<string, unknown>;
  job_parameters?: string;
}
export type JobHistory = Body<"GCHistory">;
export type WorkerPool = Body<"WorkerPool">;
export type Worker = Body<"Worker">;
export type JobQueue = Body<"JobQueue">;
export type ScheduleTask = Body<"ScheduleTask">;
export type AuditLog = Body<"AuditLogExt">;
export type Scanner = Body<"ScannerRegistration">;
export type ScanStats = Body<"Stats">;
export type SecuritySummary = Body<"SecuritySummary">;
export type VulnerabilityItem = Body<"VulnerabilityItem">;
export type Configurations = Record<string, { value?: unknown; editable?: boolean } | undefined>;
export type Statistics = Body<"Statistic">;
export type Health = Body<"OverallHealthStatus">;
export type SearchResult = Body<"Search">;
export type ExportExecution = Body<"ScanDataExportExecution">;
export type TrustedKey = Body<"TrustedKey">;
export type SignatureVerdict = Body<"SignatureVerdict">;
export type DrState = Body<"DrModel">;
export type Divergence = Body<"DivergenceModel">;
export type Peer = Body<"PeerModel">;
export type PeerConflict = Body<"ConflictModel">;
