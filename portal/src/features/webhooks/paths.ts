export const LIST = "/projects/{project_name_or_id}/webhook/policies";
export const ONE = `${LIST}/{webhook_policy_id}`;
