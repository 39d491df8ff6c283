// Issuers whose tokens stand for a robot's secret.
import {
  ActionIcon,
  Button,
  Checkbox,
  Group,
  Paper,
  Stack,
  TagsInput,
  Text,
  Textarea,
  TextInput,
} from "@mantine/core";
import { Plus, Trash2 } from "lucide-react";
import { useState } from "react";
import type { TrustedIssuer } from "../../api/types";
import { useI18n } from "../../i18n";

const EMPTY: TrustedIssuer = { issuer: "", audience: "", claims: {}, any_address: false };

export function Issuers({
  value,
  onChange,
}: {
  value: TrustedIssuer[];
  onChange: (next: TrustedIssuer[]) => void;
}) {
  const { t } = useI18n();
  return (
    <section aria-label={t("Trusted issuers")}>
      <Stack gap="xs">
        <Text size="sm" fw={500}>
          {t("Trusted issuers")}
        </Text>
        <Text size="sm" c="dimmed">
          {t("Tokens of a CI system or a cluster stand for the secret, so that no pipeline needs it.")}
        </Text>
        {value.map((item, number) => (
          <Issuer
            key={number}
            value={item}
            onChange={(next) => onChange(value.map((old, place) => (place === number ? next : old)))}
            onRemove={() => onChange(value.filter((_, place) => place !== number))}
          />
        ))}
        <Group>
          <Button
            variant="default"
            size="xs"
            leftSection={<Plus size={14} aria-hidden />}
            onClick={() => onChange([...value, EMPTY])}
          >
            {t("Add an issuer")}
          </Button>
        </Group>
      </Stack>
    </section>
  );
}

function Issuer({
  value,
  onChange,
  onRemove,
}: {
  value: TrustedIssuer;
  onChange: (next: TrustedIssuer) => void;
  onRemove: () => void;
}) {
  const { t } = useI18n();
  const [keys, setKeys] = useState(value.jwks ? JSON.stringify(value.jwks, null, 2) : "");
  const set = (part: Partial<TrustedIssuer>) => onChange({ ...value, ...part });
  return (
    <Paper withBorder p="sm" component={Stack} gap="xs">
      <Group grow align="flex-start">
        <TextInput
          label={t("Issuer (iss)")}
          required
          placeholder="https://ci.example.com"
          value={value.issuer}
          onChange={(event) => set({ issuer: event.currentTarget.value })}
        />
        <TextInput
          label={t("Audience (aud)")}
          required
          value={value.audience}
          onChange={(event) => set({ audience: event.currentTarget.value })}
        />
        <ActionIcon
          variant="subtle"
          color="red"
          mt={24}
          style={{ flexGrow: 0 }}
          aria-label={t("Remove {name}", { name: value.issuer || t("Issuer (iss)") })}
          onClick={onRemove}
        >
          <Trash2 size={15} aria-hidden />
        </ActionIcon>
      </Group>
      <TagsInput
        label={t("Claims that the token must have")}
        description={t("NAME=PATTERN; * is any text within a part, ** any text. At least one is needed.")}
        placeholder="sub=repo:acme/app:*"
        splitChars={[]}
        value={written(value.claims)}
        onChange={(lines) => set({ claims: read(lines) })}
      />
      <Textarea
        label={t("Public keys (JWKS)")}
        description={t("Empty: asked of the issuer.")}
        autosize
        maxRows={6}
        value={keys}
        onChange={(event) => {
          setKeys(event.currentTarget.value);
          set({ jwks: parsed(event.currentTarget.value) });
        }}
      />
      <Checkbox
        label={t("A token may come from several addresses")}
        description={t("For one token that all nodes of a cluster use.")}
        checked={!!value.any_address}
        onChange={(event) => set({ any_address: event.currentTarget.checked })}
      />
    </Paper>
  );
}

const written = (claims: TrustedIssuer["claims"]): string[] =>
  Object.entries(claims).flatMap(([name, found]) =>
    (Array.isArray(found) ? found : [found]).map((pattern) => `${name}=${pattern}`),
  );

function read(lines: string[]): TrustedIssuer["claims"] {
  const claims: Record<string, string[]> = {};
  for (const line of lines) {
    const place = line.indexOf("=");
    const name = place < 0 ? line : line.slice(0, place);
    claims[name] = [...(claims[name] ?? []), place < 0 ? "" : line.slice(place + 1)];
  }
  return claims;
}

// What is not JSON goes to the server as it is, which says what is wrong with it.
function parsed(text: string): TrustedIssuer["jwks"] {
  if (!text.trim()) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text as never;
  }
}
