// Which tags a project keeps (retention) and which may never change (immutability).

import { Stack } from "@mantine/core";
import type { ProjectTab } from "../projects/tab";
import { Immutability } from "./immutability";
import { Retention } from "./retention";

export function Policies(props: ProjectTab) {
  return (
    <Stack gap="lg">
      {props.can("tag-retention", "read") && <Retention {...props} />}
      {props.can("immutable-tag", "list") && <Immutability {...props} />}
    </Stack>
  );
}
