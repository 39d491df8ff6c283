import { Checkbox, Group, NativeSelect, NumberInput } from "@mantine/core";
import { useState } from "react";
import type { AuditEvent } from "../../api/types";
import { useGet } from "../../hooks";
import { useI18n } from "../../i18n";
import { Job, type Parameters } from "./job";

const OPERATIONS = ["create", "delete", "pull", "update"];
const names = (text: unknown) =>
  String(text ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter(Boolean);

export function Purge() {
  const { t } = useI18n();
  return (
    <Job
      title={t("Log rotation")}
      base="/system/purgeaudit"
      one="/system/purgeaudit/{purge_id}"
      id="purge_id"
      run={t("Rotate now")}
      warning={t("Older entries of the audit log are deleted. This cannot be undone.")}
      standard={{ audit_retention_hour: 2160, include_event_types: OPERATIONS.join(",") }}
      form={(parameters, set) => <Form parameters={parameters} set={set} />}
    />
  );
}

function Form({ parameters, set }: { parameters: Parameters; set: (changed: Parameters) => void }) {
  const { t, word } = useI18n();
  const events = useGet<AuditEvent[]>("/auditlog-exts/events", {}, { staleTime: 600_000 });
  const hours = Number(parameters.audit_retention_hour ?? 0);
  const [chosenUnit, setUnit] = useState<string | null>(null);
  const unit = chosenUnit ?? (hours % 24 ? "1" : "24");
  const chosen = names(parameters.include_event_types);
  // Operations, and the kinds of events that are stored though no box of an operation says them.
  const known = [
    ...new Set([...OPERATIONS, ...chosen, ...(events.data ?? []).map((item) => item.event_type)]),
  ];
  return (
    <>
      <Group align="flex-end">
        <NumberInput
          label={t("Keep entries of the last")}
          min={1}
          decimalScale={2}
          value={hours / Number(unit)}
          onChange={(value) =>
            set({ audit_retention_hour: Math.max(1, Math.round(Number(value) * Number(unit))) })
          }
        />
        <NativeSelect
          aria-label={t("Unit")}
          value={unit}
          onChange={(event) => setUnit(event.currentTarget.value)}
          data={[
            { value: "1", label: t("hours") },
            { value: "24", label: t("days") },
          ]}
        />
      </Group>
      <Checkbox.Group
        label={t("Operations that are deleted")}
        description={chosen.length ? undefined : t("None chosen: all of them")}
        value={chosen}
        onChange={(next) =>
          set({
            include_event_types: next.join(","),
            // Harbor's older name for the same; both must not say different things.
            ...(parameters.include_operations === undefined ? {} : { include_operations: next.join(",") }),
          })
        }
      >
        <Group mt={6}>
          {known.map((name) => (
            <Checkbox key={name} value={name} label={word(name)} />
          ))}
        </Group>
      </Checkbox.Group>
    </>
  );
}
