import { Checkbox, Group, NativeSelect, NumberInput } from "@mantine/core";
import { useState } from "react";
import { useI18n } from "../../i18n";
import { Job } from "./job";

const OPERATIONS = ["create", "delete", "pull", "update"];

export function Purge() {
  const { t, word } = useI18n();
  const [amount, setAmount] = useState(90);
  const [unit, setUnit] = useState("24");
  const [operations, setOperations] = useState(OPERATIONS);
  return (
    <Job
      title={t("Log rotation")}
      base="/system/purgeaudit"
      one="/system/purgeaudit/{purge_id}"
      id="purge_id"
      run={t("Rotate now")}
      parameters={{
        audit_retention_hour: amount * Number(unit),
        include_event_types: operations.join(","),
        include_operations: operations.join(","),
      }}
      form={
        <>
          <Group align="flex-end">
            <NumberInput
              label={t("Keep entries of the last")}
              min={1}
              value={amount}
              onChange={(value) => setAmount(Number(value) || 1)}
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
            value={operations}
            onChange={setOperations}
          >
            <Group mt={6}>
              {OPERATIONS.map((name) => (
                <Checkbox key={name} value={name} label={word(name)} />
              ))}
            </Group>
          </Checkbox.Group>
        </>
      }
    />
  );
}
