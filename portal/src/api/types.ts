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
export type UserIdentity = Body<"UserIdentity">;
export type IdentitySource = Body<"IdentitySource">;
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
export type Reference = Body<"ArtifactReference">;
/** What scanners add to an artifact is an object of any shape to the document. */
export type Artifact = Omit<Body<"Artifact">, "scan_overview" | "sbom_overview" | "tags" | "labels"> & {
  tags?: Tag[];
  labels?: Label[];
  scan_overview?: Record<string, ScanReportSummary>;
  sbom_overview?: SbomOverview;
};
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
export type SecondFactor = Body<"SecondFactor">;
export type SecondFactorKey = Body<"SecondFactorKey">;
export type RecoveryCodes = Body<"RecoveryCodes">;
export type UserToken = Body<"UserToken">;
export type UserTokenCreated = Body<"UserTokenCreated">;
export type WaitingDevice = Body<"WaitingDevice">;
export type BrowserAnswer = Body<"BrowserAnswer">;
export type RobotCreated = Body<"RobotCreated">;
export type PermissionCatalogue = Body<"Permissions">;
export type Selector = Body<"RetentionSelector">;
export type RetentionRule = Body<"RetentionRule", "template" | "tag_selectors" | "scope_selectors">;
/** Settings of the trigger are an object of any shape to the document. */
export type RetentionPolicy = Omit<Body<"RetentionPolicy">, "rules" | "trigger"> & {
  rules: RetentionRule[];
  trigger: { kind?: string; settings?: { cron?: string; next_scheduled_time?: string }; references?: object };
};
export type RetentionExecution = Body<"RetentionExecution", "id" | "status">;
export type RetentionTask = Body<"RetentionExecutionTask">;
export type ImmutableRule = Body<"ImmutableRule">;
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
export type Schedule = Body<"Schedule">;
export type JobHistory = Body<"GCHistory">;
export type WorkerPool = Body<"WorkerPool">;
export type Worker = Body<"Worker">;
export type JobQueue = Body<"JobQueue">;
export type ScheduleTask = Body<"ScheduleTask">;
export type AuditLog = Body<"AuditLogExt">;
export type Scanner = Body<"ScannerRegistration">;
export type ScanStats = Body<"Stats">;
export type SecuritySummary = Body<"SecuritySummary">;
export type LayerHolder = Body<"LayerHolder">;
export type VulnerabilityItem = Body<"VulnerabilityItem">;
export type Configurations = Record<string, Body<"ConfigItem"> | undefined>;
export type Statistics = Body<"Statistic">;
export type StorageHistory = Body<"StorageHistory">;
export type StorageOfDay = Body<"StorageOfDay">;
export type Health = Body<"OverallHealthStatus">;
export type SearchResult = Body<"Search">;
export type ExportExecution = Body<"ScanDataExportExecution">;
export type TrustedIssuer = Body<"TrustedIssuer">;
export type TrustedKey = Body<"TrustedKey">;
export type SignatureVerdict = Body<"SignatureVerdict">;
export type DrState = Body<"DrModel">;
export type Divergence = Body<"DivergenceModel">;
export type Peer = Body<"PeerModel">;
export type PeerConflict = Body<"ConflictModel">;
export type Instance = Body<"InstanceModel">;
export type CheckReport = Body<"CheckModel">;
export type ExportList = Body<"ScanDataExportExecutionList">;
export type SchedulerStatus = Body<"SchedulerStatus">;
export type AuditEvent = Body<"AuditLogEventType">;
export type PreheatInstance = Body<"PreheatInstance">;
export type PreheatPolicy = Body<"PreheatPolicy">;
export type PreheatProvider = Body<"PreheatProvider">;
export type PreheatExecution = Body<"PreheatExecution">;
export type PreheatTask = Body<"PreheatTask">;
export type ProviderUnderProject = Body<"ProviderUnderProject">;
